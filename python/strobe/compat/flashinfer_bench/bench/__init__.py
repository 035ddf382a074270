"""`flashinfer_bench.bench` on `strobe trace run`, which does not trust what it measures (docs/trace.md)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..data import TraceSet

__all__ = ["Benchmark", "BenchmarkConfig"]


@dataclass
class BenchmarkConfig:
    """`warmup_runs` and `use_isolated_runner` change nothing: there is always a round that is not timed, and every
    solution has a process of its own."""

    warmup_runs: int = 10
    iterations: int = 50
    num_trials: int = 3
    rtol: float = 1e-2
    atol: float = 1e-2
    use_isolated_runner: bool = False
    required_matched_ratio: Optional[float] = None
    definitions: Optional[list[str]] = None
    solutions: Optional[list[str]] = None
    timeout_seconds: float = 300

    def __post_init__(self) -> None:
        for name in ("iterations", "num_trials", "timeout_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a number above 0, got {getattr(self, name)}")

    def _flags(self) -> list[str]:
        flags = [
            "--iterations",
            self.iterations,
            "--num-trials",
            self.num_trials,
            "--rtol",
            self.rtol,
            "--atol",
            self.atol,
        ]
        flags += ["--timeout", self.timeout_seconds, "--python", sys.executable]
        if self.required_matched_ratio is not None:
            flags += ["--required-matched-ratio", self.required_matched_ratio]
        for name in ("definitions", "solutions"):
            flags += [f"--{name}", *getattr(self, name)] if getattr(self, name) else []
        return [str(flag) for flag in flags]


def strobe_command(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command of the library."""
    command = [sys.executable, "-m", "strobe", *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, **options)


class Benchmark:
    """Runs the solutions of a TraceSet, which must have a root."""

    def __init__(self, trace_set: TraceSet, config: Optional[BenchmarkConfig] = None) -> None:
        if trace_set.root is None:
            raise ValueError("Benchmark: expected a TraceSet with a root, got one without")
        self.trace_set = trace_set
        self.config = config or BenchmarkConfig()

    def run_all(self, dump_traces: bool = True, resume: bool = False) -> TraceSet:
        """The TraceSet with the new traces, which are written to its folder, too, unless `dump_traces` is False. Raises
        RuntimeError when the benchmark itself fails; a solution that does has a trace that says so."""
        assert self.trace_set.root is not None
        if dump_traces:
            return self._run(self.trace_set.root, resume)
        with tempfile.TemporaryDirectory(prefix="strobe-bench-") as folder:
            for part in ("definitions", "solutions", "workloads", "blob"):
                if (self.trace_set.root / part).exists():
                    (Path(folder) / part).symlink_to((self.trace_set.root / part).resolve())
            result = self._run(Path(folder), resume)
            result.root = self.trace_set.root
            return result

    def _run(self, root: Path, resume: bool) -> TraceSet:
        flags = self.config._flags() + (["--resume"] if resume else [])
        run = strobe_command("trace", "run", root, *flags, capture_output=True)
        if run.returncode not in (0, 1) or " skipped" not in run.stdout:  # it ends with what it counted
            raise RuntimeError(f"strobe trace run: {run.stderr.strip() or run.stdout.strip()}")
        return TraceSet.from_path(root)

    def close(self) -> None:
        """Nothing is left to close."""
