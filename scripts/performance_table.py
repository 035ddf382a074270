#!/usr/bin/env python3
"""Prints the Markdown table of a benchmark report; with a document, replaces the table between its `numbers` marks.

    strobe bench --suite llama-3.1-8b --device cpu --refcheck --json bench.json
    performance_table.py bench.json                      # every row
    performance_table.py bench.json README.md REGEX…     # rows whose routine and case match one of the expressions
"""

import json
import re
import sys

BEGIN, END = "<!-- numbers: begin", "<!-- numbers: end -->"


def case_text(row):
    """The shape: sizes, dtypes, layouts and what is switched on; not what is off, and no real-valued attributes."""
    shown = {name: value for name, value in row["case"].items()
             if value not in (False, -1, "") and not isinstance(value, float)}
    return ", ".join(name if value is True else f"{name} {value}" for name, value in shown.items())


def rate(row):
    if row["roofline_bound"] == "memory":
        return f"{row['tb_per_sec'] * 1000:.1f} GB/s"
    return f"{row['tflops'] * 1000:.0f} GFLOP/s"


def table(report, patterns):
    rows = [row for row in report["rows"]
            if not patterns or any(re.search(p, f"{row['routine']} {case_text(row)}") for p in patterns)]
    if not rows:
        sys.exit("no row matches")
    lines = ["| routine | case | median | rate | bound by | fraction | check |", "|---|---|---:|---:|---|---:|---|"]
    for row in rows:
        lines.append(f"| `{row['routine']}` | {case_text(row)} | {row['median_ms']:.3f} ms | {rate(row)} | "
                     f"{row['roofline_bound']} | {row['roofline_fraction']:.2f} | {row['refcheck']} |")
    return "\n".join(lines)


def replace_table(path, text):
    with open(path, encoding="utf-8") as file:
        document = file.read()
    begin, end = document.find(BEGIN), document.find(END)
    if begin < 0 or end < begin:
        sys.exit(f"{path}: no `numbers` marks")
    begin = document.index("\n", begin) + 1
    with open(path, "w", encoding="utf-8") as file:
        file.write(document[:begin] + text + "\n" + document[end:])


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    text = table(report, sys.argv[3:])
    if len(sys.argv) == 2:
        print(text)
    else:
        replace_table(sys.argv[2], text)


if __name__ == "__main__":
    main()
