#!/usr/bin/env python3
"""What calls of Strobe from Python cost the host, beside FlashInfer's, with torch CUDA tensors in one process.

    benchmarks/versus_host.py [--calls PART] [--libraries strobe flashinfer] [--json FILE]

Times are those until a call returns, hundreds of calls in a row, without gradients, the contenders in turns. Results are
compared with f32 arithmetic of torch. `import` and the first call are timed in interpreters of their own.
"""

import argparse
import sys

from versus import report
from versus_torch import commit_here, machine


def arguments(command_line):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", default="", metavar="PART", help="only calls whose name holds PART")
    parser.add_argument("--libraries", nargs="+", choices=("strobe", "flashinfer"), help="default: all that can be imported")
    parser.add_argument("--repetitions", type=int, default=15, metavar="N", help="samples of each (default 15)")
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
    from versus import host, peers

    torch.set_grad_enabled(False)
    libraries, notes = peers.load(options.libraries)
    for note in notes:
        print(note, file=sys.stderr)
    chosen = [call for call in host.all_calls() if options.calls in call.name]
    if not chosen:
        return f"--calls: no call's name holds '{options.calls}'"
    facts = machine(torch, libraries, options.commit)
    facts["import_s"] = {name: host.import_seconds(name) for name in libraries}
    facts["first_call_s"] = {name: host.first_call_seconds(name) for name in libraries}
    facts["ffi_call_us"] = host.seconds_of_nothing() * 1e6
    print(report.heading(facts))
    print(f"a tvm-ffi call that does nothing: {facts['ffi_call_us']:.2f} us")
    for what in ("import_s", "first_call_s"):
        print(f"{what}: " + ", ".join(f"{name} {seconds:.3f}" for name, seconds in facts[what].items()))
    results = []
    command = ["benchmarks/versus_host.py", *(sys.argv[1:] if command_line is None else command_line)]
    for call in chosen:
        results.append(host.measure(call, libraries, options.repetitions))
        print(report.host_table(results[-1]), flush=True)
        if options.json:
            report.write_json(options.json, facts, command, results)
    wrong = [row for result in results for row in result["rows"] if not row["correct"]]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
