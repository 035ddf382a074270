#!/usr/bin/env python3
"""Draws docs/images/decode_rates.svg from docs/data/versus-attention-h200.json: decode against the memory's roof.

    draw_decode_rates.py [--check]     --check: changes nothing, fails when the picture is not the data's

Decode does so little with each byte of K and V that memory is its roof: a copy of the same run stands for it. Bars are
the bytes of K and V that each contender reads in a second.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA, PICTURE = ROOT / "docs/data/versus-attention-h200.json", ROOT / "docs/images/decode_rates.svg"
CONTENDERS = {"strobe": ("Strobe, paged", "#2f6f9f"), "flashinfer": ("FlashInfer, paged", "#e07b39"),
              "cudnn": ("cuDNN, contiguous", "#72a98f"), "flash": ("flash attention of torch, contiguous", "#b0b0b0")}
INK, GREY, PAPER = "#222222", "#777777", "#ffffff"
LEFT, RIGHT, TOP, BAR, GAP = 300, 60, 74, 9, 10
WIDTH, MOST = 900, 5.0  # TB/s at the right edge


def text(x, y, content, size=12, colour=INK, anchor="start"):
    content = content.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{content}</text>'


def drawing(report):
    scale = (WIDTH - LEFT - RIGHT) / MOST
    parts, y = [], TOP
    for case in report["cases"]:
        rows = {row["contender"]: row for row in case["rows"]}
        parts.append(text(LEFT - 8, y + BAR * len(rows) / 2 + 4, case["case"].removeprefix("decode "), anchor="end"))
        for name, (_, colour) in CONTENDERS.items():
            if name not in rows:
                continue
            rate = rows[name]["tb_s"]
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{rate * scale:.1f}" height="{BAR - 1}" fill="{colour}"/>')
            parts.append(text(LEFT + rate * scale + 4, y + BAR - 1, f"{rate:.2f}", size=9, colour=GREY))
            y += BAR
        y += GAP
    copies = sorted(row["tb_s"] / row["of_copy"] for case in report["cases"] for row in case["rows"] if row["contender"] == "strobe")
    roof = LEFT + copies[len(copies) // 2] * scale
    parts.append(f'<line x1="{roof:.1f}" y1="{TOP - 8}" x2="{roof:.1f}" y2="{y}" stroke="{INK}" stroke-dasharray="4 3"/>')
    parts.append(text(roof, TOP - 12, f"a copy: {copies[len(copies) // 2]:.2f} TB/s", size=11, anchor="middle"))
    parts.append(text(16, 22, f"Decode on one {report['machine']['gpu']}, TB/s of K and V", size=15))
    x = 16
    for title, colour in CONTENDERS.values():
        parts.append(f'<rect x="{x}" y="34" width="10" height="10" fill="{colour}"/>')
        parts.append(text(x + 15, 43, title, size=11))
        x += 40 + 6 * len(title)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 8}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y + 8}" fill="{PAPER}"/>', *parts, "</svg>"]) + "\n"


def main():
    wanted = drawing(json.loads(DATA.read_text()))
    if sys.argv[1:] == ["--check"]:
        return None if PICTURE.read_text() == wanted else f"{PICTURE.relative_to(ROOT)} is not what {DATA.name} says: run {__file__}"
    if sys.argv[1:]:
        return __doc__
    PICTURE.write_text(wanted)
    return None


if __name__ == "__main__":
    sys.exit(main())
