"""TraceSet: a data set in memory."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Iterable, Optional, Union

from ..env import get_fib_dataset_path
from .definition import Definition
from .json_utils import append_jsonl_file, load_json_file, load_jsonl_file, save_json_file, save_jsonl_file
from .solution import Solution
from .trace import EvaluationStatus, Performance, Trace


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file())


@dataclass
class TraceSet:
    """Definitions by name; solutions, workloads and traces by definition."""

    root: Optional[Path] = None
    definitions: dict[str, Definition] = field(default_factory=dict)
    solutions: dict[str, list[Solution]] = field(default_factory=dict)
    workloads: dict[str, list[Trace]] = field(default_factory=dict)
    traces: dict[str, list[Trace]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = None if self.root is None else Path(self.root)
        self._solutions = {s.name: s for group in self.solutions.values() for s in group}

    def _below(self, *parts: str) -> Path:
        if self.root is None:
            raise ValueError("expected a TraceSet with a root, got one without")
        return self.root.joinpath(*parts)

    @property
    def definitions_path(self) -> Path:
        return self._below("definitions")

    @property
    def solutions_path(self) -> Path:
        return self._below("solutions")

    @property
    def workloads_path(self) -> Path:
        return self._below("workloads")

    @property
    def traces_path(self) -> Path:
        return self._below("traces")

    @property
    def blob_path(self) -> Path:
        return self._below("blob")

    @property
    def blob_workloads_path(self) -> Path:
        return self._below("blob", "workloads")

    @classmethod
    def from_path(cls: type[TraceSet], path: Union[str, Path, None] = None) -> TraceSet:
        """Reads a folder (FIB_DATASET_PATH without one), which is made when it is not there. Raises ValueError for what
        breaks the schema, and for two definitions or solutions of one name."""
        root = get_fib_dataset_path() if path is None else Path(path)
        root.mkdir(parents=True, exist_ok=True)
        trace_set = cls(root)
        for file in _files(trace_set.definitions_path, ".json"):
            definition = load_json_file(Definition, file)
            if definition.name in trace_set.definitions:
                raise ValueError(f"{file}: expected a name that no other definition has, got '{definition.name}'")
            trace_set.definitions[definition.name] = definition
        solutions = defaultdict(list)
        for file in _files(trace_set.solutions_path, ".json"):
            solution = load_json_file(Solution, file)
            if solution.name in trace_set._solutions:
                raise ValueError(f"{file}: expected a name that no other solution has, got '{solution.name}'")
            trace_set._solutions[solution.name] = solution
            solutions[solution.definition].append(solution)
        trace_set.solutions = dict(solutions)
        trace_set.workloads = _read_traces(trace_set.workloads_path, workloads=True)
        trace_set.traces = _read_traces(trace_set.traces_path, workloads=False)
        return trace_set

    def to_dict(self) -> dict[str, Any]:
        def lists(groups: dict[str, list[Any]]) -> dict[str, Any]:
            return {name: [item.model_dump(mode="json") for item in group] for name, group in groups.items()}

        return {
            "definitions": {name: d.model_dump(mode="json") for name, d in self.definitions.items()},
            "solutions": lists(self.solutions),
            "workload": lists(self.workloads),
            "traces": lists(self.traces),
        }

    def write_to(self, root: Union[str, Path]) -> TraceSet:
        """Writes everything below a folder; returns it as a TraceSet there."""
        folder = Path(root)
        for definition in self.definitions.values():
            save_json_file(definition, folder / "definitions" / definition.op_type / f"{definition.name}.json")
        for solution in self._solutions.values():
            op_type = self.definitions[solution.definition].op_type
            place = folder / "solutions" / solution.author / op_type / solution.definition
            save_json_file(solution, place / f"{solution.name}.json")
        for name, traces in (*self.workloads.items(), *self.traces.items()):
            for kind in ("workloads", "traces"):
                chosen = [trace for trace in traces if trace.is_workload_trace() == (kind == "workloads")]
                if chosen:
                    save_jsonl_file(chosen, folder / kind / self.definitions[name].op_type / f"{name}.jsonl")
        return TraceSet.from_path(folder)

    def get_solution(self, name: str) -> Optional[Solution]:
        return self._solutions.get(name)

    def filter_traces(self, def_name: str, atol: float = 1e-2, rtol: float = 1e-2) -> list[Trace]:
        """Passed traces whose largest errors are within the bounds."""
        return [trace for trace in self.traces.get(def_name, []) if _passes(trace, atol, rtol)]

    def get_best_trace(
        self,
        def_name: str,
        axes: Optional[dict[str, int]] = None,
        max_abs_error: float = 1e-2,
        max_rel_error: float = 1e-2,
    ) -> Optional[Trace]:
        """The passed trace with the largest speed-up, of those with these sizes."""
        candidates = [
            trace
            for trace in self.filter_traces(def_name, max_abs_error, max_rel_error)
            if all(trace.workload.axes.get(axis) == value for axis, value in (axes or {}).items())
        ]
        return max(candidates, key=_speedup, default=None)

    def summary(self) -> dict[str, Any]:
        """Counts, and the range of latencies of what passed."""
        traces = [trace for group in self.traces.values() for trace in group]
        latencies = [_performance(t).latency_ms for t in traces if t.is_successful()]
        return {
            "total": len(traces),
            "passed": len(latencies),
            "failed": len(traces) - len(latencies),
            "min_latency_ms": min(latencies, default=None),
            "max_latency_ms": max(latencies, default=None),
            "avg_latency_ms": sum(latencies) / len(latencies) if latencies else None,
        }

    def get_solution_score(self, name: str) -> Optional[float]:
        """The mean, over the definition's measured workloads, of the baseline's latency over the solution's; 0 when the
        solution failed on one or lacks one. None without a single solution of the author "baseline", which traces of
        a definition are held against, or without traces."""
        solution = self._solutions.get(name)
        if solution is None:
            raise ValueError(f"there is no solution '{name}'")
        baselines = [s for s in self.solutions.get(solution.definition, []) if s.author == "baseline"]
        traces = self.traces.get(solution.definition, [])
        if len(baselines) != 1 or not traces:
            return None
        by_solution = _latencies(traces)
        ratios = []
        for uuid, baseline in by_solution[baselines[0].name].items():
            own = by_solution[name].get(uuid, math.inf)
            if not math.isfinite(own) or not math.isfinite(baseline):
                return 0.0
            ratios.append(baseline / own)
        return sum(ratios) / len(ratios) if ratios else None

    def get_author_score(self, author: str) -> Optional[float]:
        """The mean over definitions of the author's best solution."""
        best = []
        for solutions in self.solutions.values():
            scores = [self.get_solution_score(s.name) for s in solutions if s.author == author]
            known = [score for score in scores if score is not None]
            if known:
                best.append(max(known))
        return sum(best) / len(best) if best else None

    def rank_authors(self) -> list[tuple[str, float]]:
        """Authors and their scores, best first."""
        scores = {author: self.get_author_score(author) for author in {s.author for s in self._solutions.values()}}
        known = [(author, score) for author, score in scores.items() if score is not None]
        return sorted(known, key=lambda item: (-item[1], item[0]))

    def backup_traces(self) -> None:
        """Moves the traces to traces_bak_TIME, and begins with none."""
        if self.traces_path.exists():
            self.traces_path.rename(self._below(f"traces_bak_{datetime.now():%Y%m%d_%H%M%S_%f}"))
        self.traces_path.mkdir(parents=True)
        self.traces = {}

    def _definition_of(self, trace: Trace) -> Definition:
        if trace.definition not in self.definitions:
            raise ValueError(f"there is no definition '{trace.definition}'")
        return self.definitions[trace.definition]

    def add_traces(self, traces: Iterable[Trace]) -> None:
        """Takes them in, and with a root writes them, each to the disk before the next."""
        for trace in traces:
            definition = self._definition_of(trace)
            solution = self._solutions.get(trace.solution or "")
            if trace.is_workload_trace() or solution is None:
                raise ValueError(f"expected a trace of a known solution, got one of '{trace.solution}'")
            if self.root is not None:
                file = self.traces_path / solution.author / definition.op_type / f"{definition.name}.jsonl"
                append_jsonl_file([trace], file)
            self.traces.setdefault(trace.definition, []).append(trace)

    def add_workload_traces(self, traces: Iterable[Trace]) -> None:
        """The same for workloads."""
        for trace in traces:
            definition = self._definition_of(trace)
            if not trace.is_workload_trace():
                raise ValueError(f"expected a workload alone, got a trace of '{trace.solution}'")
            if self.root is not None:
                append_jsonl_file([trace], self.workloads_path / definition.op_type / f"{definition.name}.jsonl")
            self.workloads.setdefault(trace.definition, []).append(trace)

    def add_workload_blob_tensor(self, def_name: str, workload_uuid: str, tensors: dict[str, Any]) -> str:
        """Writes torch tensors as a workload's safetensors file; returns its path from the root."""
        from safetensors.torch import save_file

        definition = self.definitions[def_name]
        place = Path("blob", "workloads", definition.op_type, def_name, f"{def_name}_{workload_uuid}.safetensors")
        file = self._below(str(place))
        if file.exists():
            raise ValueError(f"{file}: expected no such file, since a workload's tensors are never changed, got one")
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, str(file))
        return str(place)

    def get_workload_blob_tensor(self, path_str: str) -> dict[str, Any]:
        """Its torch tensors. Needs safetensors."""
        from safetensors.torch import load_file

        return load_file(str(self._below(path_str)))


def _read_traces(folder: Path, workloads: bool) -> dict[str, list[Trace]]:
    groups: dict[str, list[Trace]] = defaultdict(list)
    for file in _files(folder, ".jsonl"):
        for trace in load_jsonl_file(Trace, file):
            if trace.is_workload_trace() != workloads:
                raise ValueError(f"{file}: expected {'workloads' if workloads else 'evaluated traces'} alone")
            groups[trace.definition].append(trace)
    return dict(groups)


def _passes(trace: Trace, atol: float, rtol: float) -> bool:
    if trace.evaluation is None or trace.evaluation.status is not EvaluationStatus.PASSED:
        return False
    errors = trace.evaluation.correctness
    return errors is not None and errors.max_absolute_error <= atol and errors.max_relative_error <= rtol


def _performance(trace: Trace) -> Performance:
    """Of a trace that passed."""
    assert trace.evaluation is not None and trace.evaluation.performance is not None
    return trace.evaluation.performance


def _speedup(trace: Trace) -> float:
    return _performance(trace).speedup_factor


def _latencies(traces: list[Trace]) -> dict[str, dict[str, float]]:
    """By solution and workload, the lowest; infinite where a trace failed."""
    result: dict[str, dict[str, float]] = defaultdict(dict)
    for trace in traces:
        assert trace.solution is not None and trace.evaluation is not None
        performance = trace.evaluation.performance
        failed = trace.evaluation.status is not EvaluationStatus.PASSED or performance is None
        latency = math.inf if failed else performance.latency_ms  # type: ignore[union-attr]
        known = result[trace.solution].get(trace.workload.uuid)
        worse = max if failed or known == math.inf else min
        result[trace.solution][trace.workload.uuid] = latency if known is None else worse(known, latency)
    return result
