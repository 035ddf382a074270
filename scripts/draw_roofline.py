#!/usr/bin/env python3
"""Draws docs/images/roofline.svg from the measurements in docs/data: attention under the roofs of an H200.

    draw_roofline.py [--check]     --check: changes nothing, fails when the picture is not the data's

Across: operations for each byte that has to come from memory (decode: K and V; prefill: Q, K, V and the output). Up:
operations a second. The slope is a copy of the same runs, the level cuBLASLt's product of bf16 matrices.
"""

import json
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA, PICTURE = ROOT / "docs/data", ROOT / "docs/images/roofline.svg"
DECODE = ["versus-attention-h200.json", "versus-attention-h200-more.json"]
PREFILL = ["versus-prefill-h200.json", "versus-prefill-serving-h200.json"]
LIMITS = "llama-3.1-8b-h200.json"
INK, GREY, PAPER = "#222222", "#999999", "#ffffff"
COLOURS = {"decode": "#2f6f9f", "prefill": "#72a98f", "other": "#e07b39"}
LEFT, TOP, WIDTH, HEIGHT = 64, 64, 760, 430  # of the plot
LEAST, MOST = (0.6, 1.5), (30000, 1200)  # operations a byte, TFLOP/s


def group_of(case):
    heads = re.search(r"(\d+)/(\d+) heads", case)
    return int(heads[1]) // int(heads[2]) if heads else 4  # 32 query and 8 KV heads


def decode_points(file):
    """(operations a byte, {contender: TFLOP/s}): every byte of K and V meets the query heads of its group."""
    for case in json.loads((DATA / file).read_text())["cases"]:
        intensity = group_of(case["case"]) * (2 if "e4m3" in case["case"] else 1)
        yield intensity, {row["contender"]: row["tb_s"] * intensity for row in case["rows"]}


def prefill_points(file):
    for case in json.loads((DATA / file).read_text())["cases"]:
        rows = {row["contender"]: row for row in case["rows"]}
        operations = rows["strobe"]["tflop_s"] * rows["strobe"]["median_us"] * 1e6
        yield operations / case["bytes"], {name: row["tflop_s"] for name, row in rows.items()}


def place(intensity, rate):
    def share(value, axis):
        return math.log(value / LEAST[axis]) / math.log(MOST[axis] / LEAST[axis])
    return LEFT + share(intensity, 0) * WIDTH, TOP + (1 - share(rate, 1)) * HEIGHT


def text(x, y, content, size=11, colour=INK, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{content}</text>'


def line(a, b, colour, extra=""):
    return f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" stroke="{colour}"{extra}/>'


def grid():
    for exponent in range(5):
        x = place(10**exponent, 1)[0]
        yield line((x, TOP), (x, TOP + HEIGHT), "#e5e5e5")
        yield text(x, TOP + HEIGHT + 16, f"{10**exponent:,}", colour=GREY, anchor="middle")
    for rate in (10, 100, 1000):
        y = place(1, rate)[1]
        yield line((LEFT, y), (LEFT + WIDTH, y), "#e5e5e5")
        yield text(LEFT - 6, y + 4, f"{rate:,}", colour=GREY, anchor="end")
    yield text(LEFT + WIDTH / 2, TOP + HEIGHT + 34, "operations a byte", anchor="middle")
    yield text(LEFT, TOP - 8, "TFLOP/s")


def roofs(copy, product):
    ridge = product / copy
    yield line(place(LEAST[0], LEAST[0] * copy), place(ridge, product), INK)
    yield line(place(ridge, product), place(MOST[0], product), INK)
    x, y = place(20, 20 * copy)
    yield text(x - 8, y, f"a copy: {copy:.2f} TB/s", anchor="end")
    yield text(LEFT + WIDTH, place(1, product)[1] - 6, f"matrix product: {product:.0f} TFLOP/s", anchor="end")


def marks(points, colour):
    for intensity, rates in points:
        x, _ = place(intensity, 1)
        others = [rate for name, rate in rates.items() if name != "strobe"]
        if others:
            y = place(intensity, max(others))[1]
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="none" stroke="{COLOURS["other"]}" stroke-width="1.4"/>'
        y = place(intensity, rates["strobe"])[1]
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" fill-opacity="0.75"/>'


def legend():
    x = LEFT + 100
    for title, colour in (("Strobe, decode", COLOURS["decode"]), ("Strobe, prefill", COLOURS["prefill"]),
                          ("the fastest of the others in the same case", COLOURS["other"])):
        fill = "none" if colour == COLOURS["other"] else colour
        yield f'<circle cx="{x}" cy="40" r="4" fill="{fill}" stroke="{colour}"/>'
        yield text(x + 9, 44, title)
        x += 34 + 6 * len(title)


def drawing():
    decode = [point for file in DECODE for point in decode_points(file)]
    prefill = [point for file in PREFILL for point in prefill_points(file)]
    report = json.loads((DATA / DECODE[0]).read_text())
    copies = sorted(case["copy_tb_s"] for case in report["cases"])
    limits = json.loads((DATA / LIMITS).read_text())["limits"]["before"][0]
    parts = [text(LEFT, 22, f"Attention of bf16 and e4m3 on one {report['machine']['gpu']}", size=15), *legend(), *grid(),
             *roofs(copies[len(copies) // 2], limits["bf16_dot_gflops"] / 1000),
             *marks(decode, COLOURS["decode"]), *marks(prefill, COLOURS["prefill"])]
    width, height = LEFT + WIDTH + 24, TOP + HEIGHT + 44
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="{PAPER}"/>', *parts, "</svg>"]) + "\n"


def main():
    if sys.argv[1:] == ["--check"]:
        return None if PICTURE.read_text() == drawing() else f"{PICTURE.relative_to(ROOT)} is not what docs/data says: run {__file__}"
    if sys.argv[1:]:
        return __doc__
    PICTURE.write_text(drawing())
    return None


if __name__ == "__main__":
    sys.exit(main())
