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


GENERAL = {"--device", "--isa", "--threads", "--num_iters", "--dry_run_iters", "--random_seed", "--routine"}


def case_text(row):
    """The routine's flags of the command that repeats the row: what differs from the routine's defaults."""
    words = row["repro"].split()
    words = words[words.index("--routine"):]
    flags, i = [], 0
    while i < len(words):
        value = words[i + 1] if i + 1 < len(words) and not words[i + 1].startswith("--") else ""
        if words[i].startswith("--") and words[i] not in GENERAL and words[i] not in ("--refcheck", "--warm"):
            flags.append(f"{words[i][2:]} {value}".strip())
        i += 2 if value else 1
    return ", ".join(flags) or "defaults"


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
