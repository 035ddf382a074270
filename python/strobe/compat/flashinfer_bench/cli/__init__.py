"""FlashInfer-Bench's command line on Strobe's: `python -m strobe.compat.flashinfer_bench`.

Its exit status says what happened: 1 when a solution does not pass, a file is faulty or sets do not go together, 2 for
a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Optional, Sequence

from ..bench import Benchmark, BenchmarkConfig, strobe_command
from ..data import TraceSet


def _run(options: argparse.Namespace) -> int:
    given = {
        name: getattr(options, name)
        for name in BenchmarkConfig.__dataclass_fields__
        if getattr(options, name, None) is not None
    }
    failed = False
    for root in options.local:
        config = BenchmarkConfig(**given)
        flags = (
            config._flags()
            + (["--resume"] if options.resume else [])
            + ([] if options.save_results else ["--no-save-results"])
        )
        failed |= strobe_command("trace", "run", root, *flags).returncode != 0
    return int(failed)


def _summary(options: argparse.Namespace) -> int:
    return int(any([strobe_command("trace", "summary", root).returncode != 0 for root in options.local]))


def _best(options: argparse.Namespace) -> int:
    for root in options.local:
        trace_set = TraceSet.from_path(root)
        for name in trace_set.definitions:
            best = trace_set.get_best_trace(name)
            if best is None:
                print(f"{name}: no trace within 0.01 of the reference")
                continue
            assert best.evaluation is not None and best.evaluation.performance is not None
            speedup, latency = best.evaluation.performance.speedup_factor, best.evaluation.performance.latency_ms
            axes = ", ".join(f"{axis}={value}" for axis, value in best.workload.axes.items())
            print(f"{name}: {best.solution}, {speedup:.2f}x at {axes} ({latency:.4f} ms)")
    return 0


def _merge(options: argparse.Namespace) -> int:
    """Copies sets into one folder. Equal files and lines are taken once; different ones of a name are an error, before
    anything is written."""
    output = Path(options.output)
    files: dict[Path, bytes] = {}
    lines: dict[Path, dict[str, None]] = {}
    for root in map(Path, [*([output] if output.exists() else []), *options.local]):
        TraceSet.from_path(root)  # names faults
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            place = file.relative_to(root)
            if place.parts[0] in ("workloads", "traces"):
                lines.setdefault(place, {}).update(dict.fromkeys(file.read_text().splitlines()))
            elif place.parts[0] in ("definitions", "solutions", "blob"):
                content = file.read_bytes()
                if files.setdefault(place, content) != content and not _same_json(files[place], content):
                    raise ValueError(f"{place}: expected the same in all sets, got two")
    for place, content in files.items():
        _write(output / place, content)
    for place, text in lines.items():
        _write(output / place, "".join(line + "\n" for line in text if line.strip()).encode())
    TraceSet.from_path(output)
    print(f"{output}: {len(files)} files, {sum(map(len, lines.values()))} workloads and traces")
    return 0


def _same_json(a: bytes, b: bytes) -> bool:
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(file)


def _visualize(options: argparse.Namespace) -> int:
    """Latencies by workload, a solution a column."""
    for root in options.local:
        trace_set = TraceSet.from_path(root)
        for name, traces in trace_set.traces.items():
            solutions = sorted({trace.solution or "" for trace in traces})
            print(f"{name}\n  {'workload':<36} " + " ".join(f"{solution:>20.20}" for solution in solutions))
            rows: dict[str, dict[str, str]] = {}
            for trace in traces:
                assert trace.evaluation is not None
                performance = trace.evaluation.performance
                cell = f"{performance.latency_ms:.4f} ms" if performance else trace.evaluation.status.value
                rows.setdefault(trace.workload.uuid, {})[trace.solution or ""] = cell
            for uuid, cells in rows.items():
                print(f"  {uuid:<36.36} " + " ".join(f"{cells.get(solution, '-'):>20.20}" for solution in solutions))
    return 0


def _validate(options: argparse.Namespace) -> int:
    flags: list[Any] = []
    if options.checks:
        flags += ["--checks", options.checks]
    for name in ("op_types", "definitions"):
        if getattr(options, name):
            flags += [f"--{name.replace('_', '-')}", *getattr(options, name)]
    outputs = options.outputs.split(",")
    folder = Path(options.output_folder or Path(options.dataset) / "reports")
    if "json" in outputs:
        folder.mkdir(parents=True, exist_ok=True)
        flags += ["--json", folder / "report.json"]
    result = strobe_command("trace", "validate", options.dataset, *flags, capture_output=True)
    if "text" in outputs:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.txt").write_text(result.stdout)
    if "stdout" in outputs:
        print(result.stdout, end="")
    print(result.stderr, end="", file=sys.stderr)
    return result.returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flashinfer-bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(parent: Any, name: str, action: Any, text: str, local: bool = True) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = parent.add_parser(name, help=text)
        command.set_defaults(action=action)
        command.add_argument("--log-level", help="taken, and of no effect")
        if local:
            command.add_argument(
                "--local", action="append", required=True, help="the folder of a data set; again for more"
            )
        return command

    run = add(commands, "run", _run, "benchmark solutions and add their traces")
    for flag in ("--warmup-runs", "--iterations", "--num-trials"):
        run.add_argument(flag, type=int)
    for flag in ("--rtol", "--atol", "--required-matched-ratio"):
        run.add_argument(flag, type=float)
    run.add_argument("--timeout", type=float, dest="timeout_seconds")
    run.add_argument(
        "--use-isolated-runner", action="store_true", help="taken: every solution has a process of its own"
    )
    run.add_argument("--save-results", action=argparse.BooleanOptionalAction, default=True)
    run.add_argument("--resume", action="store_true", help="leave out what has a trace")
    run.add_argument("--definitions", nargs="+")
    run.add_argument("--solutions", nargs="+")

    report = commands.add_parser("report", help="what data sets hold").add_subparsers(required=True, metavar="REPORT")
    add(report, "summary", _summary, "definitions, and their solutions by score")
    add(report, "best", _best, "the trace of the largest speed-up of each definition")
    add(report, "merge", _merge, "several data sets as one").add_argument("--output", required=True)
    add(report, "visualize", _visualize, "latencies as tables")

    validate = add(commands, "validate", _validate, "hold a data set against the schema", local=False)
    validate.add_argument("--dataset", required=True)
    validate.add_argument("--checks")
    validate.add_argument("--disable-gpu", action="store_true", help="taken: no check needs one")
    validate.add_argument("--op-types", nargs="+")
    validate.add_argument("--definitions", nargs="+")
    validate.add_argument("--output-folder")
    validate.add_argument("--outputs", default="stdout", help="stdout, json, text, separated by commas")
    return parser


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.action(options))
    except (OSError, ValueError) as error:
        print(f"flashinfer-bench: {error}", file=sys.stderr)
        return 1
