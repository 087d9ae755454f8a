"""Runs fail2ban-client -d on a directory and folds what it would tell its server into one object a jail.

argv[1]: a directory. Files that logpath names need not exist. Writes JSON; times in seconds.
"""

import ast
import contextlib
import io
import json
import logging
import sys

from fail2ban.client import fail2banclient, jailreader
from fail2ban.server.mytime import MyTime

jailreader.JailReader._glob = staticmethod(lambda path: [path])
logging.disable(logging.CRITICAL)

TIMES = ("bantime", "findtime", "bantime.rndtime", "bantime.maxtime")
LISTS = {
    "addfailregex": "failregex",
    "addignoreregex": "ignoreregex",
    "addjournalmatch": "journalmatch",
    "addlogpath": "logpath",
    "addignoreip": "ignoreip",
}


def fold(commands):
    server, jails = {}, {}
    for command in commands:
        if command[0] == "add":
            jails[command[1]] = {"backend": command[2], "actions": {}}
        elif command[0] == "config-error":
            server.setdefault("errors", []).append(command[1])
        elif command[0] in ("set", "multi-set") and command[1] in jails:
            setting(jails[command[1]], command)
        elif command[0] == "set":
            server[command[1]] = command[2]
    return {"server": server, "jails": jails}


def setting(jail, command):
    multi, what, values = command[0] == "multi-set", command[2], command[3:]
    if what == "addaction":
        jail["actions"][values[0]] = dict(json.loads(values[2]), python=True) if len(values) > 1 else {}
    elif what == "action":
        pairs = values[1] if multi else [values[1:]]
        jail["actions"][values[0]].update((key, str(value)) for key, value in pairs if value is not None)
    elif what in LISTS:
        items = jail.setdefault(LISTS[what], [])
        if what == "addignoreip":
            items.extend(values)
        elif what in ("addjournalmatch", "addlogpath"):
            items.append(values)
        else:
            items.extend(values[0] if multi else values)
    elif values[0] is not None and values[0] != "":
        jail[what] = MyTime.str2seconds(values[0]) if what in TIMES else values[0]


out = io.StringIO()
with contextlib.redirect_stdout(out):
    try:
        fail2banclient.exec_command_line(["fail2ban-client", "-c", sys.argv[1], "-d"])
    except SystemExit:
        pass
lines = [line for line in out.getvalue().splitlines() if line.startswith("[")]
print(json.dumps(fold([ast.literal_eval(line) for line in lines])))
