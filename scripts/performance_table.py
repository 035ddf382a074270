#!/usr/bin/env python3
"""Writes the measured parts of the documents from the result files in docs/data.

    performance_table.py            # rewrites the parts in README.md and docs/performance.md
    performance_table.py --check    # exits with 1 and shows the difference when a document has other numbers
    performance_table.py FILE.json  # prints the table of a result file of `strobe bench --json`

A part stands between `<!-- measured: KIND FILE [REGEX…] -->` and `<!-- measured: end -->`. Kinds: `suite` (command, machine,
date, commit, limits and a table of the rows whose routine and flags match one of the expressions), `workload`, `goals`, `versus`,
`versus_flops`, `peers`, `host`.
"""

import difflib
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "docs/performance.md"]
PART = re.compile(r"(<!-- measured: (?!end)([^\n]*) -->\n).*?(<!-- measured: end -->)", re.DOTALL)


def load(name):
    return json.loads((ROOT / "docs/data" / name).read_text(encoding="utf-8"))


def case_text(flags):
    """'--num_tokens 64 --gemma' as 'num_tokens 64, gemma'."""
    return ", ".join(part.strip().replace("=", " ") for part in f" {flags}".split(" --")[1:]) or "defaults"


def rate(row):
    if row["roofline_bound"] == "memory":
        return f"{row['tb_per_sec'] * 1000:.1f} GB/s"
    return f"{row['tflops'] * 1000:.0f} GFLOP/s"


def duration(row):
    return f"{row['median_ms']:.3f} ms" if row["device"] == "cpu" else f"{row['median_ms'] * 1000:.1f} µs"


def table(rows):
    lines = ["| routine | case | median | rate | bound by | fraction | check |", "|---|---|---:|---:|---|---:|---|"]
    for row in rows:
        lines.append(f"| `{row['routine']}` | {case_text(row['flags'])} | {duration(row)} | {rate(row)} | "
                     f"{row['roofline_bound']} | {row['roofline_fraction']:.2f} | {row['refcheck']} |")
    return lines


PEAKS = {"fma_gflops": "FMA", "bf16_dot_gflops": "bf16 dot", "e4m3_dot_gflops": "e4m3 dot"}


def limits_text(levels):
    texts = []
    for level in levels:
        peaks = [f"{name} {level[key]:.0f}" for key, name in PEAKS.items() if level.get(key)]
        texts.append(f"DRAM read {level['dram_read_gbs']:.1f}, copy {level['copy_gbs']:.1f} GB/s, {', '.join(peaks)} GFLOP/s")
    return "; ".join(texts)


def who(report, row):
    """The processor that ran a row, or a workload's step."""
    machine = report["machine"]
    if row.get("device", "cpu") == "cpu":
        return f"{machine['cpu']}, {row['threads']} threads pinned on {machine['cpus']} CPUs, level {row['isa']}"
    gpu = next(gpu for gpu in machine["gpus"] if gpu["device"] == row["device"])
    return f"{gpu['name']}, {gpu['architecture']}, {gpu['sm_count']} SMs, driver for CUDA {gpu['driver']}"


def provenance(report, row):
    """Processor, date, commit and limits in a sentence, the command below it."""
    limits = report["limits"]
    return [f"{who(report, row)}, {report['date'][:10]}, commit {report['commit']}.",
            f"Limits before the run: {limits_text(limits['before'])}; after it: {limits_text(limits['after'])}.",
            "", "```", report["command"], "```", ""]


def suite_part(file, *patterns):
    report = load(file)
    rows = [row for row in report["rows"]
            if not patterns or any(re.search(p, f"{row['routine']} {row['flags']}") for p in patterns)]
    if not rows:
        sys.exit(f"{file}: no row matches {patterns}")
    return provenance(report, rows[0]) + table(rows)


def check_text(run):
    if run["refcheck"] == "skipped":
        return "skipped"
    return f"{run['refcheck']}: {run['checked_steps']} steps, largest relative error {run['max_rel_err']:.2g}"


def workload_part(file):
    report = load(file)
    run = report["workload"]
    pages = f"mean {run['pages_in_use_mean']:.0f}, most {run['pages_in_use_max']} of {run['num_pages']}"
    return provenance(report, run) + [
        "| quantity | measured |", "|---|---|",
        f"| attention layer, append included | {run['tokens_per_s']:.0f} tokens/s |",
        f"| step (append and attention) | median {run['step_median_ms']:.2f} ms, p99 {run['step_p99_ms']:.1f} ms |",
        f"| plan | median {run['plan_median_us']:.1f} µs, p99 {run['plan_p99_us']:.1f} µs |",
        f"| share of the limit, over all steps | {run['roofline_fraction']:.2f} |",
        f"| requests in a batch | mean {run['batch_mean']:.1f}, most {run['batch_max']} |",
        f"| pages in use | {pages} |",
        f"| reference check | {check_text(run)} |"]


def find_row(report, routine, flags):
    found = [row for row in report["rows"] if (row["routine"], row["flags"]) == (routine, flags)]
    if len(found) != 1:
        sys.exit(f"goals.json: expected one row of {routine} {flags}, got {len(found)}")
    return found[0]


def goals_part(file):
    report = load(file)
    lines = ["| what | goal | measured | |", "|---|---:|---:|---|"]
    for goal in load("goals.json"):
        row = find_row(report, goal["routine"], goal["flags"])
        value = row["roofline_fraction"]
        if "against" in goal:
            value = row["tb_per_sec"] / find_row(report, goal["routine"], goal["against"])["tb_per_sec"]
        lines.append(f"| {goal['what']} | {goal['goal']:.2f} | {value:.2f} | {'met' if value >= goal['goal'] else 'missed'} |")
    return lines


def microseconds(time):
    return f"{time:.2f}" if time < 10 else f"{time:.1f}"


def versus_part(file):
    """The cases of benchmarks/versus_torch.py or versus_attention.py: who takes how long."""
    report = load(file)
    machine = report["machine"]
    names = {"strobe": "Strobe", "flashinfer": "FlashInfer", "cudnn": "cuDNN", "flash": "flash attention of torch",
             "torch": "torch eager", "compile": "torch.compile"}
    present = {row["contender"] for case in report["cases"] for row in case["rows"]}
    names = {name: title for name, title in names.items() if name in present}
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if name != "strobe")
    lines = [f"{machine['gpu']}, {versions}, {machine['date'][:10]}, commit {machine['commit']}. All bf16 but for what is called e4m3; times are microseconds (median).",
             "", "```", report["command"], "```", "",
             "| case | " + " | ".join(names.values()) + " | Strobe, TB/s | of copy |", "|---|" + "---:|" * (len(names) + 2)]
    for case in report["cases"]:
        rows = {row["contender"]: row for row in case["rows"]}
        times = [microseconds(rows[name]["median_us"]) if name in rows else "–" for name in names]
        own = rows["strobe"]
        lines.append(f"| {case['case']} | {' | '.join(times)} | {own['tb_s']:.2f} | {own['of_copy']:.2f} |")
    return lines


def versus_flops_part(file):
    """The cases of benchmarks/versus_attention.py prefill: TFLOP/s of each."""
    report = load(file)
    machine = report["machine"]
    names = {"strobe": "Strobe", "cudnn": "cuDNN", "flash": "flash attention of torch", "fa2": "FlashInfer fa2", "fa3": "FlashInfer fa3"}
    present = {row["contender"] for case in report["cases"] for row in case["rows"]}
    names = {name: title for name, title in names.items() if name in present}
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if name != "strobe")
    lines = [f"{machine['gpu']}, {versions}, {machine['date'][:10]}, commit {machine['commit']}. bf16, TFLOP/s of the median.",
             "", "```", report["command"], "```", "",
             "| case | " + " | ".join(names.values()) + " | of the best other |", "|---|" + "---:|" * (len(names) + 1)]
    for case in report["cases"]:
        rates = {row["contender"]: row["tflop_s"] for row in case["rows"]}
        others = [rate for name, rate in rates.items() if name != "strobe"]
        cells = [f"{rates[name]:.0f}" if name in rates else "–" for name in names]
        ratio = f"{rates['strobe'] / max(others):.2f}" if others else "–"
        lines.append(f"| {case['case'].removeprefix('prefill ')} | {' | '.join(cells)} | {ratio} |")
    return lines


def host_part(file):
    """The calls of benchmarks/versus_host.py: what they cost the host."""
    report = load(file)
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if name != "strobe")
    imports, first = (", ".join(f"{name} {seconds:.2f} s" for name, seconds in machine[key].items()) for key in ("import_s", "first_call_s"))
    lines = [f"{machine['gpu']}, Python {machine['python']}, {versions}, {machine['date'][:10]}, commit {machine['commit']}. Microseconds until a call returns "
             f"(median, least in brackets). Importing takes {imports}; the first call, whose kernel is in the cache, {first}. A "
             f"tvm-ffi call that does nothing took {machine['ffi_call_us']:.2f} µs beside them.", "", "```", report["command"], "```", "",
             "| call | Strobe | goal | FlashInfer |", "|---|---:|---:|---:|"]
    for case in report["cases"]:
        times = {row["contender"]: f"{microseconds(row['median_us'])} ({microseconds(row['min_us'])})" for row in case["rows"]}
        own = times.pop("strobe")
        others = [f"{name.removeprefix('flashinfer')} {time}".strip() for name, time in times.items()]
        goal = "–" if case["goal_us"] is None else f"{case['goal_us']:g}"
        lines.append(f"| {case['case']} | {own} | {goal} | {', '.join(others) or '–'} |")
    return lines


def peers_part(file):
    """Sampling beside others: a row for each operation and vocabulary, a column for each batch size."""
    report = load(file)
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    batches = sorted({row["batch_size"] for row in report["rows"]})
    groups = {}
    for row in report["rows"]:
        groups.setdefault((row["case"], row["vocab_size"], row["sigma"]), {})[row["batch_size"]] = row["median_us"]
    lines = [f"{machine['gpu']}, {versions}, {machine['date']}, commit {machine['commit']}; {report['method']}. Microseconds: "
             "Strobe / FlashInfer / torch.", "",
             "| operation | vocabulary | σ of the logits | " + " | ".join(f"{b} row{'s' * (b > 1)}" for b in batches) + " |",
             "|---|---:|---:|" + "---:|" * len(batches)]
    for (case, vocabulary, sigma), times in sorted(groups.items(), key=lambda group: (group[0][2], group[0][1])):
        cells = [" / ".join(microseconds(t) for t in times[b].values() if t is not None) if b in times else "–" for b in batches]
        lines.append(f"| {case} | {vocabulary} | {sigma:g} | " + " | ".join(cells) + " |")
    return lines


KINDS = {"suite": suite_part, "workload": workload_part, "goals": goals_part, "versus": versus_part,
         "versus_flops": versus_flops_part, "peers": peers_part, "host": host_part}


def regenerated(document):
    def part(match):
        kind, *words = match[2].split()
        return match[1] + "\n".join(KINDS[kind](*words)) + "\n" + match[3]
    return PART.sub(part, document)


def main():
    if sys.argv[1:] and sys.argv[1] != "--check":
        with open(sys.argv[1], encoding="utf-8") as file:
            print("\n".join(table(json.load(file)["rows"])))
        return 0
    differ = False
    for name in DOCUMENTS:
        before = (ROOT / name).read_text(encoding="utf-8")
        after = regenerated(before)
        if sys.argv[1:]:
            differ |= before != after
            sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), after.splitlines(True), name, name + " regenerated"))
        elif before != after:
            (ROOT / name).write_text(after, encoding="utf-8")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
