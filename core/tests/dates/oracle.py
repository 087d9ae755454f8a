"""Asks fail2ban itself for the dates of lines.

Reads cases from standard input, one JSON object a line, and answers each with one:
  {"pattern": text or null, "zone": text or null, "now": seconds, "lines": [text, ..]}
  -> {"error": text} if the pattern cannot be used, else
     {"dates": [null | [start, end, time, order]]}
where start and end are in characters, time is a number, "empty", "nodate" (fail2ban says that it is no date) or
"broken" (it fails otherwise), and order is the place in the order of templates at which the date was found.
The first line of the output is {"year": n}: the year for which fail2ban has made its patterns.
"""
import datetime
import json
import logging
import sys
import time

from fail2ban.server import datedetector, datetemplate, strptime
from fail2ban.server.mytime import MyTime

logging.disable(logging.CRITICAL)
STAMPS = list(datedetector.DateDetectorCache.DEFAULT_TEMPLATES)


class FixedTime:
    """Stands in for the module "time" where the detector remembers when a template was used."""

    @staticmethod
    def time():
        return MyTime.time()


datedetector.time = FixedTime


def fresh(pattern, zone):
    """A detector as in a new process: fail2ban shares templates, and their hits, between detectors."""
    datedetector.DD_patternCache = datedetector.Utils.Cache(maxCount=1000, maxTime=3600)
    datedetector.DateDetectorCache.DEFAULT_TEMPLATES = list(STAMPS)
    datedetector.DateDetector._defCache = datedetector.DateDetectorCache()
    detector = datedetector.DateDetector()
    detector.default_tz = zone
    for line in [] if pattern is None else pattern.split("\n"):
        if line.strip():
            detector.appendTemplate(line.strip())
    for template in detector.templates:
        template._compileRegex()
    return detector


def ask(detector, line):
    try:
        match, template = detector.matchTime(line)
    except Exception:
        return "broken"
    if not match:
        return None
    start, end = match.span(1)
    if start < 0:
        start = end = match.start()
    shown = line[start:end]
    order = detector._DateDetector__lastTemplIdx
    if not shown:
        return [start, end, "empty", order]
    try:
        found = detector.getTime(shown, (match, template))
    except Exception:
        return [start, end, "broken", order]
    return [start, end, "nodate" if found is None else found[0], order]


def main():
    print(json.dumps({"year": datetime.datetime.now().year}), flush=True)
    for text in sys.stdin:
        case = json.loads(text)
        MyTime.setTime(case["now"])
        try:
            detector = fresh(case["pattern"], case["zone"])
        except Exception as error:
            print(json.dumps({"error": "%s: %s" % (type(error).__name__, error)}), flush=True)
            continue
        print(json.dumps({"dates": [ask(detector, line) for line in case["lines"]]}), flush=True)


main()
