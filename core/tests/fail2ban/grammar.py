"""What fail2ban makes of texts. Standard input: {"files": [..], "options": [..], "times": [..], "tags": [..]}.

Writes for each file {section: {key: value}} or null if it is refused, for each options text its items each with
[name, options] or null, for each time its seconds or null, for each set of tags the set filled in or null.
"""

import json
import logging
import os
import sys
import tempfile

from fail2ban.client.configparserinc import SafeConfigParserWithIncludes
from fail2ban.helpers import extractOptions, splitWithOptions, substituteRecursiveTags
from fail2ban.server.mytime import MyTime

logging.disable(logging.CRITICAL)


def tried(function, *arguments):
    try:
        return function(*arguments)
    except Exception:
        return None


def file(text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.conf")
        with open(path, "w", encoding="utf-8", newline="") as out:
            out.write(text)
        parser = SafeConfigParserWithIncludes()
        parser.read([path], get_includes=False)
    sections = {name: dict(keys) for name, keys in parser.get_sections().items()}
    return dict(sections, DEFAULT=dict(parser.get_defaults()))


def options(text):
    return [[item.strip(), tried(extractOptions, item.strip())] for item in splitWithOptions(text)]


def time(text):
    value = MyTime.str2seconds(text)
    return float(value) if isinstance(value, (int, float)) else None


cases = json.load(sys.stdin)
json.dump({
    "files": [tried(file, text) for text in cases["files"]],
    "options": [tried(options, text) for text in cases["options"]],
    "times": [tried(time, text) for text in cases["times"]],
    "tags": [tried(substituteRecursiveTags, tags) for tags in cases["tags"]],
}, sys.stdout)
