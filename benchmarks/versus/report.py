"""What a comparison says: statistics, the table, the JSON file. Knows nothing of torch."""

import json
import shlex
import os
import statistics


def row(name, samples, bytes_moved, copy_rate, error, tolerance, flops=None):
    """One contender's row. Samples are seconds of a call; bytes are read plus written; rates are bytes a second. `flops` of
    a call where they bound it."""
    median = statistics.median(samples)
    result = {
        "contender": name,
        "median_us": median * 1e6,
        "min_us": min(samples) * 1e6,
        "tb_s": bytes_moved / median * 1e-12,
        "of_copy": bytes_moved / median / copy_rate,
        "error": error,
        "correct": error <= tolerance,  # false for NaN
        "samples_us": [sample * 1e6 for sample in samples],
    }
    return result if flops is None else result | {"tflop_s": flops / median * 1e-12}


def rate_of_flops(row):
    return f"  {row['tflop_s']:6.1f} TFLOP/s" if "tflop_s" in row else ""


def heading(facts):
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"{facts['gpu']}, {facts['sm_count']} SMs, {facts['l2_bytes'] >> 20} MiB of L2; {versions}; {facts['date']}"


def table(result):
    """A case and its rows; `x strobe` is a contender's median over Strobe's."""
    own = [row["median_us"] for row in result["rows"] if row["contender"] == "strobe"]
    lines = [
        f"\n{result['case']}: {result['bytes'] / 1e6:.1f} MB a call, {result['instances']} instances, "
        f"{result['calls']} calls a replay; copy {result['copy_tb_s']:.3f} TB/s",
        f"  {'':12} {'median us':>10} {'min us':>10} {'TB/s':>7} {'of copy':>8} {'x strobe':>9} {'error':>9}",
    ]
    for row in result["rows"]:
        ratio = f"{row['median_us'] / own[0]:9.2f}" if own else f"{'':9}"
        lines.append(
            f"  {row['contender']:12} {row['median_us']:10.2f} {row['min_us']:10.2f} {row['tb_s']:7.3f} "
            f"{row['of_copy']:8.3f} {ratio} {row['error']:9.1e}"
            f"{rate_of_flops(row)}{'' if row['correct'] else '  WRONG'}"
        )
    return "\n".join(lines)


def host_table(result):
    """A call from Python and what it takes each contender until it returns."""
    goal = "" if result["goal_us"] is None else f", goal {result['goal_us']:g} us"
    lines = [f"\n{result['case']}: {result['calls']} calls a sample{goal}", f"  {'':24} {'median us':>10} {'min us':>10} {'error':>9}"]
    for row in result["rows"]:
        wrong = "" if row["correct"] else "  WRONG"
        lines.append(f"  {row['contender']:24} {row['median_us']:10.2f} {row['min_us']:10.2f} {row['error']:9.1e}{wrong}")
    return "\n".join(lines)


def write_json(path, facts, command, results):
    """Replaces the file as a whole, so that an interrupted run leaves the cases before it."""
    text = json.dumps({"machine": facts, "command": shlex.join(command), "cases": results}, indent=1)
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.replace(path + ".part", path)
