"""FlashInfer-Bench's Python API on Strobe: its data sets and scripts work, without pydantic.

    import strobe.compat.flashinfer_bench
    strobe.compat.flashinfer_bench.install()
    import flashinfer_bench                 # is this

or, for a program as it is: python -m strobe.compat -- python script.py. The command line is
python -m strobe.compat.flashinfer_bench. Objects are checked by libstrobe's reader, which takes the same files
(docs/trace.md); what breaks the schema is a ValueError. Not there: the server, the agents' tools and prompts, policies
of one's own for tracing, and evaluators and runners, whose work `strobe trace run` does.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from .apply import ApplyConfig, ApplyConfigRegistry, apply, disable_apply, enable_apply
from .bench import Benchmark, BenchmarkConfig
from .data import (
    AxisConst,
    AxisVar,
    BuildSpec,
    Correctness,
    Definition,
    Environment,
    Evaluation,
    EvaluationStatus,
    Performance,
    RandomInput,
    SafetensorsInput,
    ScalarInput,
    Solution,
    SourceFile,
    SupportedLanguages,
    TensorSpec,
    Trace,
    TraceSet,
    Workload,
)
from .tracing import TracingConfig, TracingConfigRegistry, disable_tracing, enable_tracing

__all__ = [
    "ApplyConfig", "ApplyConfigRegistry", "AxisConst", "AxisVar", "Benchmark", "BenchmarkConfig", "BuildSpec", "Correctness",
    "Definition", "Environment", "Evaluation", "EvaluationStatus", "Performance", "RandomInput", "SafetensorsInput", "ScalarInput",
    "Solution", "SourceFile", "SupportedLanguages", "TensorSpec", "Trace", "TraceSet", "TracingConfig", "TracingConfigRegistry",
    "Workload", "apply", "disable_apply", "disable_tracing", "enable_apply", "enable_tracing", "install",
]  # fmt: skip

_MODULES = (
    "apply", "apply.config", "apply.runtime", "bench", "cli", "compile", "data", "data.definition", "data.json_utils",
    "data.solution", "data.trace", "data.trace_set", "data.workload", "env", "tracing",
)  # fmt: skip


def install() -> ModuleType:
    """Makes `import flashinfer_bench`, and imports of its submodules, give this. Returns the module.

    Raises RuntimeError when the real FlashInfer-Bench has been imported already.
    """
    this = sys.modules[__name__]
    if sys.modules.get("flashinfer_bench", this) is not this and getattr(sys.modules["flashinfer_bench"], "__file__", "") != _alias():
        raise RuntimeError("strobe.compat.flashinfer_bench.install: expected to come before `import flashinfer_bench`, came after it")
    sys.modules["flashinfer_bench"] = this
    for name in _MODULES:
        sys.modules[f"flashinfer_bench.{name}"] = import_module(f"{__name__}.{name}")
    return this


def _alias() -> str:
    from pathlib import Path

    return str(Path(__file__).parents[1] / "alias" / "flashinfer_bench" / "__init__.py")
