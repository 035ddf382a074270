"""Trace and its parts: what a solution did on a workload."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Optional

from .._model import Model, around_evaluation
from .workload import Workload


class EvaluationStatus(str, Enum):
    PASSED = "PASSED"
    INCORRECT_SHAPE = "INCORRECT_SHAPE"
    INCORRECT_NUMERICAL = "INCORRECT_NUMERICAL"
    INCORRECT_DTYPE = "INCORRECT_DTYPE"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    COMPILE_ERROR = "COMPILE_ERROR"
    TIMEOUT = "TIMEOUT"


_FAILED = {"status": "TIMEOUT", "environment": {"hardware": "part"}, "timestamp": "part"}


@dataclass
class Correctness(Model):
    max_relative_error: float = 0.0
    max_absolute_error: float = 0.0
    extra: Optional[dict[str, Any]] = None

    def __post_init__(self) -> None:
        self._check_within(
            "trace", around_evaluation({**_FAILED, "status": "INCORRECT_NUMERICAL", "correctness": self})
        )
        self.max_relative_error = float(self.max_relative_error)  # "Infinity" and "NaN" are numbers
        self.max_absolute_error = float(self.max_absolute_error)


@dataclass
class Performance(Model):
    latency_ms: float = 0.0
    reference_latency_ms: float = 0.0
    speedup_factor: float = 0.0

    def __post_init__(self) -> None:
        passed = {**_FAILED, "status": "PASSED", "correctness": {}, "performance": self}
        self._check_within("trace", around_evaluation(passed))


@dataclass
class Environment(Model):
    hardware: str
    libs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_within("trace", around_evaluation({**_FAILED, "environment": self}))


@dataclass
class Evaluation(Model):
    status: EvaluationStatus
    environment: Environment
    timestamp: str
    log: str = ""
    correctness: Optional[Correctness] = None
    performance: Optional[Performance] = None

    def __post_init__(self) -> None:
        self._check_within("trace", around_evaluation(self))
        self.status = EvaluationStatus(self.status)
        for name, kind in (("environment", Environment), ("correctness", Correctness), ("performance", Performance)):
            value = getattr(self, name)
            if isinstance(value, dict):
                setattr(self, name, kind._from_json(value))


@dataclass
class Trace(Model):
    """Checked when it is made. Without solution and evaluation it is a workload alone."""

    _kind: ClassVar[str] = "trace"

    definition: str
    workload: Workload
    solution: Optional[str] = None
    evaluation: Optional[Evaluation] = None

    def __post_init__(self) -> None:
        content = self._check()
        if isinstance(self.workload, dict):
            self.workload = Workload(**content["workload"])
        if isinstance(self.evaluation, dict):
            self.evaluation = Evaluation._from_json(content["evaluation"])

    def is_workload_trace(self) -> bool:
        return self.solution is None and self.evaluation is None

    def is_successful(self) -> bool:
        return self.evaluation is not None and self.evaluation.status is EvaluationStatus.PASSED
