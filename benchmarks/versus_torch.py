#!/usr/bin/env python3
"""Strobe's memory-bound CUDA operators beside torch eager, torch.compile and FlashInfer, in one process.

    benchmarks/versus_torch.py [--cases PART] [--contenders strobe torch compile flashinfer] [--json FILE]

A contender is recorded into a CUDA graph that goes through so many copies of its random tensors that none is
still in the L2 cache when it is used again (`--warm`: through one). In each repetition the graphs are replayed
one after the other, in another order each time, beside a copy of 512 MiB, with events between them and no wait
of the host: what happens to the card happens to all of them, and no time of the host is in the numbers.
Outputs are compared with f32 arithmetic of torch. Contenders that cannot be imported are left out, and said so.
"""

import argparse
import datetime
import pathlib
import platform
import subprocess
import sys

from versus import report


def commit_here():
    git = ["git", "-C", str(pathlib.Path(__file__).resolve().parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def arguments(command_line):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="", metavar="PART", help="only cases whose name holds PART")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="default: all that can be imported",
                        choices=("strobe", "torch", "compile", "flashinfer"))
    parser.add_argument("--repetitions", type=int, default=21, metavar="N", help="timed replays of each (default 21)")
    parser.add_argument("--warm", action="store_true", help="use the same tensors in every call")
    parser.add_argument("--json", metavar="FILE", help="write results, with all samples, as JSON")
    parser.add_argument("--commit", default=commit_here(), help="Strobe's, for the results (default: of this checkout)")
    chosen = parser.parse_args(command_line)
    if chosen.repetitions < 1:
        parser.error(f"--repetitions: expected at least 1, got {chosen.repetitions}")
    return chosen


def machine(torch, peers, commit):
    device = torch.cuda.get_device_properties(0)
    versions = {name: getattr(module, "__version__", "unknown") for name, module in peers.items()}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "gpu": device.name,
        "sm_count": device.multi_processor_count,
        "l2_bytes": device.L2_cache_size,
        "commit": commit,
        "python": platform.python_version(),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, **versions},
    }


def main(command_line=None):
    options = arguments(command_line)
    try:
        import torch
    except ImportError as error:
        return f"nothing measured: {error}"
    if not torch.cuda.is_available():
        return "nothing measured: torch finds no CUDA device"
    from versus import cases, peers, timing

    found, notes = peers.load(options.contenders)
    for note in notes:
        print(note, file=sys.stderr)
    chosen = [case for case in cases.all_cases() if options.cases in case.name]
    if not chosen:
        return f"--cases: no case's name holds '{options.cases}'"
    facts = machine(torch, found, options.commit)
    print(report.heading(facts))
    results = []
    command = ["benchmarks/versus_torch.py", *(sys.argv[1:] if command_line is None else command_line)]
    for case in chosen:
        contenders = peers.contenders_of(case, found, options.contenders)
        results.append(timing.measure(case, contenders, options.repetitions, options.warm))
        print(report.table(results[-1]), flush=True)
        if options.json:
            report.write_json(options.json, facts, command, results)
    wrong = [row for result in results for row in result["rows"] if not row["correct"]]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
