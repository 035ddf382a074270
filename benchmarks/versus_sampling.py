#!/usr/bin/env python3
"""Sampling of Strobe beside FlashInfer's, torch's (by sorting) and torch.compile's, on the same rows in one process.

    benchmarks/versus_sampling.py [--cases PART] [--vocab_sizes N...] [--batch_sizes N...] [--json FILE]

Every contender's calls are recorded in a CUDA graph, over sets of rows that the caches do not hold, and the graphs are
replayed in turns. Results are checked against torch: filters by what they keep, draws by whether they keep to it.
scripts/performance_table.py makes the table of docs/performance.md of the JSON.
"""

import argparse
import json
import sys

from versus_torch import commit_here, machine

METHOD = (
    "all through Python, in CUDA graphs of up to 64 calls over up to 8 sets of f32 rows (130 MB in all), replayed in turns, median; "
    "draws with seed and offset given; torch sorts or takes its topk, and draws by a race of exponential times"
)


def arguments(command_line):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="", metavar="PART", help="only operations whose name holds PART")
    parser.add_argument("--vocab_sizes", type=int, nargs="+", default=[32000, 128256, 151936], metavar="N")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 8, 64, 256], metavar="N")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[1.0], metavar="X", help="deviation of the logits (default 1)")
    parser.add_argument("--contenders", nargs="+", choices=("strobe", "flashinfer", "torch", "compile"), help="default: all")
    parser.add_argument("--repetitions", type=int, default=7, metavar="N", help="samples of each (default 7)")
    parser.add_argument("--json", metavar="FILE", help="write results as JSON")
    parser.add_argument("--commit", default=commit_here(), help="Strobe's, for the results (default: of this checkout)")
    chosen = parser.parse_args(command_line)
    if chosen.repetitions < 1:
        parser.error(f"--repetitions: expected at least 1, got {chosen.repetitions}")
    return chosen


def line(row):
    times = " / ".join(f"{name} {row['median_us'][name]:.1f} ({row['min_us'][name]:.1f})" for name in row["median_us"])
    wrong = [name for name, good in row["correct"].items() if not good]
    left_out = "; ".join(f"{name}: {error}" for name, error in row["errors"].items())
    return (
        f"{row['case']}, {row['batch_size']} x {row['vocab_size']}, sigma {row['sigma']:g}: {times} us"
        + (f"  WRONG: {', '.join(wrong)}" if wrong else "")
        + (f"  left out: {left_out}" if left_out else "")
    )


def main(command_line=None):
    options = arguments(command_line)
    try:
        import torch
    except ImportError as error:
        return f"nothing measured: {error}"
    if not torch.cuda.is_available():
        return "nothing measured: torch finds no CUDA device"
    from versus import peers, sampling

    torch.set_grad_enabled(False)
    libraries, notes = peers.load(options.contenders)
    for note in notes:
        print(note, file=sys.stderr)
    chosen = [operation for operation in sampling.operations() if options.cases in operation.name]
    if not chosen:
        return f"--cases: no operation's name holds '{options.cases}'"
    facts = {**machine(torch, libraries, options.commit), "gpu": torch.cuda.get_device_name()}
    rows = []
    for operation in chosen:
        contenders = sampling.contenders_of(operation, libraries, options.contenders)
        for sigma in options.sigmas:
            for vocab_size in options.vocab_sizes:
                for batch_size in options.batch_sizes:
                    rows.append(
                        sampling.measure(operation, vocab_size, batch_size, sigma, contenders, options.repetitions)
                    )
                    print(line(rows[-1]), flush=True)
        if options.json:
            command = ["benchmarks/versus_sampling.py", *(sys.argv[1:] if command_line is None else command_line)]
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump({"machine": facts, "method": METHOD, "command": command, "rows": rows}, file, indent=1)
                file.write("\n")
    return 1 if any(not good for row in rows for good in row["correct"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
