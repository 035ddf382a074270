#!/usr/bin/env python3
"""Strobe's attention beside FlashInfer's and torch's (cuDNN and flash, contiguous), in one process.

    benchmarks/versus_attention.py [decode|prefill] [--cases PART ...] [--libraries strobe flashinfer] [--json FILE]

Graphs of calls over rotating tensors, replayed in turns, as benchmarks/versus_torch.py does; TB/s are those of K and V for
decode, of all tensors for prefill.
Page tables are random, and so is the data. Outputs are compared with f32 arithmetic of torch.
"""

import argparse
import functools
import sys

from versus import report
from versus_torch import commit_here, machine


def arguments(command_line):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=("decode", "prefill"), default="decode", help="default: decode")
    parser.add_argument("--cases", nargs="+", default=[""], metavar="PART", help="only cases whose name holds a PART")
    parser.add_argument("--libraries", nargs="+", choices=("strobe", "flashinfer"), help="default: all that can be imported")
    parser.add_argument("--flashinfer-backends", nargs="+", choices=("fa2", "fa3"), default=("fa2", "fa3"),
                        help="of prefill: fa3 takes FlashInfer more than a minute to compile")
    parser.add_argument("--repetitions", type=int, default=15, metavar="N", help="timed replays of each (default 15)")
    parser.add_argument("--json", metavar="FILE", help="write results, with all samples, as JSON")
    parser.add_argument("--commit", default=commit_here(), help="Strobe's, for the results (default: of this checkout)")
    chosen = parser.parse_args(command_line)
    if chosen.repetitions < 1:
        parser.error(f"--repetitions: expected at least 1, got {chosen.repetitions}")
    return chosen


def main(command_line=None):
    options = arguments(command_line)
    try:
        import torch
    except ImportError as error:
        return f"nothing measured: {error}"
    if not torch.cuda.is_available():
        return "nothing measured: torch finds no CUDA device"
    from versus import decode, peers, prefill, timing

    kind, contenders_of = decode, decode.contenders_of
    if options.kind == "prefill":
        kind = prefill
        contenders_of = functools.partial(prefill.contenders_of, flashinfer_backends=options.flashinfer_backends)

    libraries, notes = peers.load(options.libraries)
    for note in notes:
        print(note, file=sys.stderr)
    chosen = [case for case in kind.all_cases() if any(part in case.name for part in options.cases)]
    if not chosen:
        return f"--cases: no case's name holds {' or '.join(map(repr, options.cases))}"
    facts = machine(torch, libraries, options.commit)
    print(report.heading(facts))
    results = []
    command = ["benchmarks/versus_attention.py", *(sys.argv[1:] if command_line is None else command_line)]
    for case in chosen:
        results.append(timing.measure(case, contenders_of(case, libraries), options.repetitions, warm=False))
        print(report.table(results[-1]), flush=True)
        torch.cuda.empty_cache()
        if options.json:
            report.write_json(options.json, facts, command, results)
    wrong = [row for result in results for row in result["rows"] if not row["correct"]]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
