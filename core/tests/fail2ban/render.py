"""Fills tags in as fail2ban's actions do. Standard input: a list of cases; writes what becomes of each.

A case: {"query", "properties", "family", "tags", "captures"}. Its result: what the properties make of the query, then
the script and its arguments; null if fail2ban refuses.
"""

import json
import sys

from fail2ban.server import action

for name in ("fq-hostname", "sh-hostname"):
    action.ADD_REPL_TAGS.pop(name)


def render(case):
    condition = "family=" + case["family"] if case["family"] else ""
    try:
        static = action.CommandAction.replaceTag(case["query"], case["properties"], conditional=condition)
    except ValueError:
        return None
    tags = dict(case["tags"])
    tags["F-*"] = case["captures"]
    dynamic = action.CommandAction.replaceDynamicTags(static, tags)
    return [static] + (dynamic if isinstance(dynamic, list) else [dynamic])


cases = json.load(sys.stdin)
json.dump([[render(case) for case in cases], action.CommandAction.escapeTag("".join(map(chr, range(1, 128))))], sys.stdout)
