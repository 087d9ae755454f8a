#!/usr/bin/env python3
"""Draws the outlines of countries that the wall's map is made of: daemon/src/outputs/wall/world.tsv.

The data is Natural Earth's (public domain), as the npm package world-atlas 2.0.2 holds it; which two letters a country has
comes from a table of ISO 3166-1, such as pycountry's iso3166-1.json. Run it again only to change the drawing:

  scripts/world-map.py countries-110m.json countries-50m.json iso3166-1.json > daemon/src/outputs/wall/world.tsv

A line is a country: its two letters, its name, and an SVG path in whole numbers on a sheet of 720 to 312. Countries that
are too small for an outline are a dot. The projection is Equal Earth (Savric, Patterson, Jenny 2018): areas compare.
"""
import json
import math
import sys

WIDTH, TOP, BOTTOM = 720, 84.0, -57.0
A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796


def equal_earth(lon, lat):
    t = math.asin(math.sqrt(3) / 2 * math.sin(math.radians(lat)))
    t2 = t * t
    t6 = t2 * t2 * t2
    x = 2 * math.sqrt(3) * math.radians(lon) * math.cos(t) / (3 * (9 * A4 * t6 * t2 + 7 * A3 * t6 + 3 * A2 * t2 + A1))
    return x, t * (A4 * t6 * t2 + A3 * t6 + A2 * t2 + A1)


SCALE = WIDTH / (2 * equal_earth(180, 0)[0])
UP = equal_earth(0, TOP)[1]


def sheet(lon, lat):
    x, y = equal_earth(lon, max(lat, BOTTOM))
    return round(x * SCALE + WIDTH / 2), round((UP - y) * SCALE)


def arcs_of(topology):
    sx, sy = topology["transform"]["scale"]
    tx, ty = topology["transform"]["translate"]
    arcs = []
    for arc in topology["arcs"]:
        x = y = 0
        points = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            points.append((x * sx + tx, y * sy + ty))
        arcs.append(points)
    return arcs


def rings(geometry, arcs):
    """The outer ring of each polygon, as longitudes and latitudes."""
    kind = geometry.get("type")
    polygons = {"Polygon": [geometry.get("arcs")], "MultiPolygon": geometry.get("arcs")}.get(kind, [])
    for polygon in polygons:
        ring = []
        for index in polygon[0]:
            part = arcs[index] if index >= 0 else arcs[~index][::-1]
            ring.extend(part[1:] if ring else part)
        yield from cut(ring)


def cut(ring):
    """A ring across the date line as two, one at each edge of the sheet."""
    whole = []
    for lon, lat in ring:
        turns = round((whole[-1][0] - lon) / 360) if whole else 0
        whole.append((lon + 360 * turns, lat))
    for shift in (0, 360, -360):
        part = [(min(max(lon + shift, -180), 180), lat) for lon, lat in whole]
        if any(-180 < lon < 180 for lon, _ in part):
            yield part


def area(points):
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1])) / 2


def thinned(ring):
    points = []
    for point in (sheet(*place) for place in ring):
        if not points or points[-1] != point:
            points.append(point)
        # A point on the way from its neighbour to the next says nothing.
        while len(points) > 2:
            (ax, ay), (bx, by), (cx, cy) = points[-3:]
            if (bx - ax) * (cy - ay) != (by - ay) * (cx - ax):
                break
            del points[-2]
    return points


def path(geometry, arcs):
    drawn = ""
    for ring in rings(geometry, arcs):
        points = thinned(ring)
        if len(points) < 3 or abs(area(points)) < 3:
            continue
        x, y = points[0]
        drawn += f"M{x} {y}l"
        steps = []
        for px, py in points[1:]:
            steps.append(f"{px - x}" + (f" {py - y}" if py >= y else f"{py - y}"))
            x, y = px, py
        text = ""
        for step in steps:
            text += step if not text or step.startswith("-") else " " + step
        drawn += text + "z"
    return drawn


def dot(geometry, arcs):
    largest = max(rings(geometry, arcs), key=lambda ring: abs(area(ring)))
    x, y = sheet(sum(p[0] for p in largest) / len(largest), sum(p[1] for p in largest) / len(largest))
    return f"M{x - 2} {y}a2 2 0 1 0 4 0 2 2 0 1 0-4 0z"


def main():
    small, large, codes = (json.load(open(name, encoding="utf-8")) for name in sys.argv[1:4])
    letters = {row["numeric"]: row["alpha_2"] for row in codes["3166-1"]}
    letters["XK"] = "XK"
    arcs = {"small": arcs_of(small), "large": arcs_of(large)}
    outlined = {g["properties"]["name"]: g for g in small["objects"]["countries"]["geometries"]}
    rows = {}
    for geometry in large["objects"]["countries"]["geometries"]:
        name = geometry["properties"]["name"]
        code = letters.get(str(geometry.get("id", "")).zfill(3)) or {"Kosovo": "XK"}.get(name)
        if code is None or code == "AQ":
            continue
        if code in rows and name not in outlined:
            continue
        drawn = path(outlined[name], arcs["small"]) if name in outlined else ""
        rows[code] = (name, drawn or dot(geometry, arcs["large"]))
    for code, (name, drawn) in sorted(rows.items()):
        print(code, name, drawn, sep="\t")


main()
