#!/usr/bin/env python3
"""Records `make demo` and draws it as an animated picture: docs/demo.svg, which the README shows.

usage: scripts/demo-picture.py [FILE]
FILE: where the picture goes; docs/demo.svg without it

The lines are those that the demo prints, at the times at which it prints them; only pauses are cut: what comes in one
go is shown line by line, so that it can be read, and no pause is longer than LONGEST. The picture needs nothing from
elsewhere and no script: CSS shows each line from its time on, and moves the screen up.
"""

import subprocess
import sys
import time
from xml.sax.saxutils import escape

COLUMNS, ROWS = 100, 30
# Of a monospaced font: the height of a line, and the width of a character (0.6 of its size, as nearly all have).
LINE, SIZE = 17, 13
WIDTH = 0.6 * SIZE
# Seconds: between lines that come at once, before a scene begins, of the longest pause, and of the last screen.
SHORTEST, SCENE, LONGEST, END = 0.2, 1.5, 2.0, 6.0


def record():
    """The demo's lines, each with the second at which it came."""
    demo = subprocess.Popen(["scripts/demo.sh"], stdout=subprocess.PIPE, text=True, errors="replace")
    lines = [(time.monotonic(), line.rstrip().expandtabs(8)) for line in demo.stdout]
    if demo.wait() != 0:
        sys.exit("demo-picture: `scripts/demo.sh` failed; its last lines stand above")
    # What was said before the first scene is about building.
    first = next((at for at, (_, line) in enumerate(lines) if line.startswith("== ")), None)
    if first is None:
        sys.exit("demo-picture: the demo played no scene; does it need root or tools that are not here?")
    return lines[first:]


def wrapped(line):
    """The line in pieces that fit the screen; what is quoted stays behind its bar."""
    mark = "     | " if line.startswith("     | ") else ""
    room = COLUMNS - len(mark)
    rest = line[len(mark) :]
    while len(rest) > room:
        cut = rest.rfind(" ", room // 2, room) + 1 or room
        yield mark + rest[:cut].rstrip()
        rest = rest[cut:]
    yield mark + rest


def timed(lines):
    """Rows of the screen with the second from which each is seen, and the length of all."""
    rows, now, before = [], 0.0, None
    for came, line in lines:
        pause = SHORTEST if before is None else min(max(came - before, SHORTEST), LONGEST)
        now += SCENE if line.startswith("== ") and rows else pause
        before = came
        rows += [(now, row) for row in wrapped(line)]
    return rows, now + END


def kind(row):
    """The class of a row: scene, command, output, or nothing."""
    if row.startswith("== "):
        return "s"
    if row.startswith("   $ "):
        return "c"
    return "o" if row.startswith("     |") else ""


def percent(seconds, length):
    return f"{100 * seconds / length:.2f}".rstrip("0").rstrip(".") + "%"


def scrolling(rows, length):
    """The steps of the screen: how far it is up, from when on."""
    steps = ["0%{transform:none}"]
    for at, (now, _) in enumerate(rows):
        if at >= ROWS and (at + 1 == len(rows) or rows[at + 1][0] > now):
            steps.append(f"{percent(now, length)}{{transform:translateY(-{(at + 1 - ROWS) * LINE}px)}}")
    return "".join(steps)


def drawn(rows, length):
    """The picture."""
    width, height = round(COLUMNS * WIDTH) + 24, ROWS * LINE + 24
    moments = sorted({now for now, _ in rows})
    seen = {now: f"t{number}" for number, now in enumerate(moments)}
    last = max(len(rows) - ROWS, 0) * LINE
    style = [
        f"text{{font:{SIZE}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d4d8dd;white-space:pre}}",
        ".s{fill:#f2cc60;font-weight:bold}.c{fill:#7ee787}.o{fill:#9da7b1}",
        f"#all{{animation:up {length:.1f}s step-end infinite}}@keyframes up{{{scrolling(rows, length)}}}",
        f"text{{animation:{length:.1f}s step-end infinite}}",
    ]
    for now in moments:
        name = seen[now]
        style.append(f".{name}{{animation-name:{name}}}")
        style.append(f"@keyframes {name}{{0%{{opacity:0}}{percent(now, length)}{{opacity:1}}}}")
    # Who wants no movement sees the end.
    style.append(
        "@media(prefers-reduced-motion:reduce){text,#all{animation:none}"
        f"#all{{transform:translateY(-{last}px)}}}}"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>make demo: an attack on a real sshd, the ban, the pardon</title>",
        f"<style>{''.join(style)}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#14181d"/>',
        f'<svg x="12" y="12" width="{width - 24}" height="{height - 24}"><g id="all">',
    ]
    for at, (now, row) in enumerate(rows):
        if row:
            names = f"{kind(row)} {seen[now]}".strip()
            parts.append(f'<text class="{names}" y="{at * LINE + SIZE}">{escape(row)}</text>')
    parts.append("</g></svg></svg>\n")
    return "\n".join(parts)


def main():
    where = sys.argv[1] if len(sys.argv) > 1 else "docs/demo.svg"
    if where.startswith("-"):
        # Recording builds the program, which is not what somebody asks for by --help.
        sys.exit(__doc__.strip())
    rows, length = timed(record())
    picture = drawn(rows, length)
    with open(where, "w", encoding="utf-8") as file:
        file.write(picture)
    print(f"{where}: {len(rows)} lines, {length:.0f} s, {len(picture.encode()) / 1000:.1f} kB")


if __name__ == "__main__":
    main()
