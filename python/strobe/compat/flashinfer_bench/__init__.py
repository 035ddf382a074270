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
    "ApplyConfig", "ApplyConfigRegistry", "AxisConst", "AxisVar", "Benchmark", "BenchmarkConfig", "BuildSpec",
    "Correctness", "Definition", "Environment", "Evaluation", "EvaluationStatus", "Performance", "RandomInput",
    "SafetensorsInput", "ScalarInput", "Solution", "SourceFile", "SupportedLanguages", "TensorSpec", "Trace",
    "TraceSet", "TracingConfig", "TracingConfigRegistry", "Workload", "apply", "disable_apply", "disable_tracing",
    "enable_apply", "enable_tracing", "install",
]  # fmt: skip

# FlashInfer-Bench's modules, and where their names are here.
_MODULES = {
    **{
        name: name
        for name in (
            "apply", "apply.config", "apply.runtime", "bench", "cli", "compile", "data", "data.definition",
            "data.json_utils", "data.solution", "data.trace", "data.trace_set", "data.workload", "env", "tracing",
        )
    },
    "apply.apply_api": "apply.runtime",
    "apply.presets": "apply.config",
    "bench.benchmark": "bench",
    "bench.config": "bench",
    "cli.main": "cli",
    "compile.builder": "compile",
    "compile.registry": "compile",
    "compile.runnable": "compile",
    "tracing.config": "tracing",
    "tracing.presets": "tracing",
    "tracing.runtime": "tracing",
    "tracing.tracing": "tracing",
}  # fmt: skip


def install() -> ModuleType:
    """Makes `import flashinfer_bench`, and imports of its submodules, give this. Returns the module.

    Raises RuntimeError when the real FlashInfer-Bench has been imported already.
    """
    this = sys.modules[__name__]
    if (
        sys.modules.get("flashinfer_bench", this) is not this
        and getattr(sys.modules["flashinfer_bench"], "__file__", "") != _alias()
    ):
        raise RuntimeError(
            "strobe.compat.flashinfer_bench.install: expected to come before `import flashinfer_bench`, came after it"
        )
    sys.modules["flashinfer_bench"] = this
    for theirs, ours in _MODULES.items():
        module = import_module(f"{__name__}.{ours}")
        for package in ("flashinfer_bench", __name__):  # `import a.b as c` looks for the name that a says it has
            sys.modules[f"{package}.{theirs}"] = module
    return this


def _alias() -> str:
    from pathlib import Path

    return str(Path(__file__).parents[1] / "alias" / "flashinfer_bench" / "__init__.py")
