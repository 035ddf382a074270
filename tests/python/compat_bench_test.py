"""FlashInfer-Bench's names on Strobe."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from data_sets import Writer, axes, tensors
from strobe.compat.flashinfer_bench import (
    AxisConst,
    AxisVar,
    Benchmark,
    BenchmarkConfig,
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
    TracingConfig,
    Workload,
    apply,
    disable_apply,
    disable_tracing,
    enable_apply,
    enable_tracing,
)
from strobe.compat.flashinfer_bench.apply import ApplyConfig, ApplyConfigRegistry, ApplyRuntime
from strobe.compat.flashinfer_bench.cli import main
from strobe.compat.flashinfer_bench.compile import BuilderRegistry, BuildError
from strobe.compat.flashinfer_bench.data import load_json_file, save_json_file
from strobe.compat.flashinfer_bench.tracing import get_full_configs

STARTER = os.path.join(os.path.dirname(__file__), "..", "..", "datasets", "starter")


def definition(**changes):
    given = dict(
        name="scale_n4",
        op_type="scale",
        axes={"rows": AxisVar(), "n": AxisConst(value=4)},
        inputs={"x": TensorSpec(shape=["rows", "n"], dtype="float32"), "s": TensorSpec(shape=None, dtype="float32")},
        outputs={"y": TensorSpec(shape=["rows", "n"], dtype="float32")},
        reference="def run(x, s):\n    return x * s\n",
    )
    return Definition(**{**given, **changes})


def solution(
    name="twice", source="def run(x, s, y):\n    y[...] = 2 * x * s\n", author="me", language="python", **spec
):
    entry = f"main.{'cc' if language == 'cpp' else 'py'}"
    build = BuildSpec(language=language, target_hardware=["CPU"], entry_point=f"{entry}::run", **spec)
    return Solution(
        name=name, definition="scale_n4", author=author, spec=build, sources=[SourceFile(path=entry, content=source)]
    )


def trace(solution="twice", rows=2, ms=1.0, hardware="here", status="PASSED", error=0.0, uuid=None):
    passed = status == "PASSED"
    evaluation = Evaluation(
        status=status, environment=Environment(hardware=hardware), timestamp="2026-11-20T12:00:00",
        correctness=Correctness(max_relative_error=error) if passed else None,
        performance=Performance(latency_ms=ms, reference_latency_ms=4.0, speedup_factor=4 / ms) if passed else None,
    )  # fmt: skip
    workload = Workload(
        axes={"rows": rows}, inputs={"x": RandomInput(), "s": ScalarInput(value=2.0)}, uuid=uuid or f"w{rows}"
    )
    return Trace(definition="scale_n4", workload=workload, solution=solution, evaluation=evaluation)


def test_definitions():
    d = definition()
    assert d.const_axes == {"n": 4} and d.var_axes == ["rows"] and d.var_axes_bindings == {"rows": ("x", 0)}
    assert d.get_axes_values([(3, 4), None]) == {"rows": 3}
    assert d.get_axes_values_from_inputs([np.zeros((3, 4)), 1.0]) == {"rows": 3}
    assert d.get_input_shapes({"rows": 3}) == [(3, 4), None] and d.get_output_shapes({"rows": 3}) == [(3, 4)]
    assert d.merge_kwargs_to_args((1,), {"s": 2, "page_size": 16}) == (1, 2)
    with pytest.raises(ValueError, match="expected 2 axes"):
        d.get_axes_values([(3,), None])
    with pytest.raises(ValueError, match="Missing values"):
        d.get_output_shapes({})
    with pytest.raises(TypeError, match="two values for the argument 'x'"):
        d.merge_kwargs_to_args((1,), {"x": 2})


@pytest.mark.parametrize(
    "make",
    [
        lambda: definition(name=""),
        lambda: definition(reference="run = lambda x, s: x"),
        lambda: definition(inputs={"x": TensorSpec(shape=["nowhere"], dtype="float32")}),
        lambda: TensorSpec(shape=[], dtype="float31"),
        lambda: definition(reference="def run(:\n    pass\n"),
        lambda: definition(constraints=["rows >"]),
        lambda: AxisConst(value=-3),
        lambda: TensorSpec(shape="rows", dtype="float32"),
        lambda: SourceFile(path="", content="x"),
        lambda: SourceFile(path="../main.py", content="x"),
        lambda: BuildSpec(language="python", target_hardware=["CPU"], entry_point="main.py"),
        lambda: BuildSpec(language="python", target_hardware=[], entry_point="main.py::run"),
        lambda: Correctness(max_relative_error=-1.0),
        lambda: Performance(latency_ms=-1.0),
        lambda: Environment(hardware=""),
        lambda: Evaluation(status="PASSED", environment=Environment("here"), timestamp="now"),
        lambda: Evaluation("TIMEOUT", Environment("here"), "now", performance=Performance()),
        lambda: Workload(axes={"rows": 1}, inputs={"x": object()}, uuid="w"),
        lambda: solution(source=""),
        lambda: BuildSpec(language="cobol", target_hardware=["CPU"], entry_point="main.py::run"),
        lambda: trace(status="RUNTIME_ERROR", solution=None),
        lambda: Workload(axes={"rows": -1}, inputs={}, uuid="w"),
        lambda: ApplyConfig(max_atol=0),
        lambda: TracingConfig(filter_policy="guess"),
        lambda: BenchmarkConfig(iterations=0),
    ],
)
def test_what_breaks_the_schema_is_a_value_error(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("item", [definition(), solution(), trace(), trace(status="TIMEOUT"), trace(error=math.inf)])
def test_objects_survive_files(item, tmp_path):
    save_json_file(item, tmp_path / "item.json")
    again = load_json_file(type(item), tmp_path / "item.json")
    assert again == item and again.model_dump() == item.model_dump()
    assert type(item).model_validate_json(item.model_dump_json()) == item
    assert type(item).model_validate(item.model_dump()) == item


def test_inputs_of_workloads():
    inputs = {"x": SafetensorsInput(path="blob/x.safetensors", tensor_key="x"), "s": ScalarInput(value=3)}
    workload = Workload.model_validate(Workload(axes={"rows": 2}, inputs=inputs, uuid="w").model_dump())
    assert isinstance(workload.inputs["x"], SafetensorsInput) and workload.inputs["s"].value == 3


def test_solutions_are_equal_by_content():
    assert solution("a") == solution("b") and len({solution("a"), solution("b")}) == 1
    assert solution("a") != solution("a", "def run(x, s, y):\n    pass\n")
    assert solution().with_unique_name().name == f"twice_{solution().hash()[:8]}"
    assert solution().get_entry_source().path == "main.py" and solution().spec.language is SupportedLanguages.PYTHON


@pytest.fixture
def trace_set(tmp_path):
    save_json_file(definition(), tmp_path / "definitions/scale/scale_n4.json")
    for item in (solution(), solution("base", "import strobe\n\ndef run(x, s, y):\n    y[...] = x * s\n", "baseline")):
        save_json_file(item, tmp_path / f"solutions/{item.author}/scale/scale_n4/{item.name}.json")
    yield TraceSet.from_path(tmp_path)
    disable_tracing()
    disable_apply()


def test_trace_sets(trace_set):
    trace_set.add_traces([trace(ms=1.0), trace("base", ms=2.0), trace(rows=3, ms=4.0), trace("base", rows=3, ms=2.0)])
    trace_set.add_traces([trace(rows=4, error=1.0), trace("base", rows=4, ms=1.5)])
    again = TraceSet.from_path(trace_set.root)
    assert set(again.to_dict()) == {"definitions", "solutions", "workload", "traces"}
    in_order = [sorted(map(str, s.to_dict()["traces"]["scale_n4"])) for s in (again, trace_set)]
    assert in_order[0] == in_order[1] and len(in_order[0]) == 6
    assert again.get_best_trace("scale_n4").workload.axes == {"rows": 2}
    assert again.get_best_trace("scale_n4", {"rows": 3}).solution == "base"
    assert again.get_best_trace("scale_n4", {"rows": 9}) is None
    assert len(again.filter_traces("scale_n4")) == 5
    assert again.get_solution_score("twice") == pytest.approx((2 + 0.5 + 1.5) / 3)
    assert again.rank_authors() == [("me", again.get_solution_score("twice")), ("baseline", 1.0)]
    assert again.summary()["passed"] == 6 and again.summary()["min_latency_ms"] == 1.0
    again.add_traces([trace(rows=2, status="TIMEOUT")])
    assert again.get_solution_score("twice") == 0
    with pytest.raises(ValueError, match="known solution"):
        again.add_traces([trace("nobody")])
    again.backup_traces()
    assert again.traces == {} and TraceSet.from_path(again.root).traces == {}


def test_apply(trace_set):
    hardware = here()
    trace_set.add_traces([trace(hardware=hardware), trace(rows=3, hardware=hardware, error=1e-3)])
    x = np.ones((2, 4), np.float32)
    with enable_apply(trace_set.root) as runtime:
        assert ApplyRuntime.get_instance() is runtime
        assert (apply("scale_n4", args=(x,), kwargs={"s": 1.0}) == 2).all()
        assert apply("scale_n4", (np.ones((3, 4), np.float32), 1.0), fallback=lambda x, s: "fallback") == "fallback"
        assert "1 traces left out: relative error above 1e-05" in runtime.explain()
        with pytest.raises(ValueError, match="expected 2 inputs"):
            runtime.dispatch("scale_n4", (x,), {}, None)
    disable_apply()
    assert ApplyRuntime.get_instance() is None
    in_memory = TraceSet(None, trace_set.definitions, trace_set.solutions, traces=trace_set.traces)
    with ApplyRuntime(in_memory) as runtime:
        assert (runtime.dispatch("scale_n4", (x, 1.0), {}, None) == 2).all()
    registry = ApplyConfigRegistry()
    with enable_apply(trace_set.root, registry):
        assert apply("scale_n4", (x, 1.0), fallback=lambda x, s: "fallback") == "fallback"
    registry.register("scale_n4", ApplyConfig(max_rtol=1.0))
    with pytest.raises(ValueError, match="has one"):
        registry.register("scale_n4", ApplyConfig())
    with enable_apply(trace_set.root, registry):
        assert (apply("scale_n4", (np.ones((3, 4), np.float32), 1.0)) == 2).all()


def here():
    """The name of this machine's CPU, as traces have it."""
    command = [sys.executable, "-m", "strobe", "trace", "explain", STARTER, "--json", os.devnull]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return lines[1].strip().partition(":")[0]


def test_tracing(trace_set):
    call = lambda rows: apply("scale_n4", (np.ones((rows, 4), np.float32), 2.0), fallback=lambda x, s: None)
    with enable_tracing(trace_set.root, TracingConfig(filter_policy="keep_first_k", filter_policy_kwargs={"k": 2})):
        for rows in (5, 5, 6):
            call(rows)
    with enable_tracing(trace_set.root, get_full_configs()):
        call(6), call(6)
    recorded = TraceSet.from_path(trace_set.root).workloads["scale_n4"]
    assert [w.workload.axes["rows"] for w in recorded] == [5, 5, 6]
    assert recorded[0].workload.inputs == {"x": RandomInput(), "s": ScalarInput(value=2.0)}


def test_builders(trace_set):
    x = np.ones((2, 4), np.float32)
    registry = BuilderRegistry.get_instance()
    runnable = registry.build(definition(), solution())
    assert registry.build(definition(), solution("another name")) is runnable
    y = np.zeros_like(x)
    assert runnable(x, 1.0, y) is None and (y == 2).all()
    assert (runnable.call_value_returning(x, 1.0) == 2).all()
    reference = registry.build_reference(definition())
    assert (reference.call_kwargs(s=3.0, x=x) == 3).all()
    reference.call_destination_passing(x, 4.0, y)
    assert (y == 4).all()
    returning = solution(source="def run(x, s):\n    return 5 * x\n", destination_passing_style=False)
    assert (registry.build(definition(), returning)(x, 1.0) == 5).all()
    with pytest.raises(BuildError, match="ZeroDivisionError"):
        registry.build(definition(), solution(source="1 / 0\ndef run(x, s, y):\n    pass\n"))
    runnable.cleanup()
    registry.cleanup()
    with pytest.raises(RuntimeError, match="cleaned up"):
        runnable(x, 1.0, y)


def test_benchmark_and_command_line(trace_set, tmp_path, capfd, monkeypatch):
    # Neither the command nor the solutions that it measures are routed by apply: there is no data set for that.
    monkeypatch.setenv("FIB_ENABLE_APPLY", "1")
    workload = Trace(definition="scale_n4", workload=trace().workload)
    trace_set.add_workload_traces([workload])
    config = BenchmarkConfig(iterations=2, num_trials=1, timeout_seconds=60)
    result = Benchmark(trace_set, config).run_all(dump_traces=False)
    status = {t.solution: t.evaluation.status for t in result.traces["scale_n4"]}
    assert status == {"twice": EvaluationStatus.INCORRECT_NUMERICAL, "base": EvaluationStatus.PASSED}
    assert TraceSet.from_path(trace_set.root).traces == {}

    def command(*arguments):
        status = main([str(argument) for argument in arguments])
        written = capfd.readouterr()
        return status, written.out + written.err

    root = trace_set.root
    flags = ["--iterations", 2, "--num-trials", 1, "--warmup-runs", 1, "--log-level", "INFO", "--solutions", "base"]
    status, text = command("run", "--local", root, *flags)
    assert status == 0 and "1 passed" in text
    assert "base" in command("report", "best", "--local", root)[1]
    assert "1.00x" in command("report", "summary", "--local", root)[1]
    assert " ms" in command("report", "visualize", "--local", root)[1]
    assert command("validate", "--dataset", root, "--outputs", "json,text", "--disable-gpu")[0] == 0
    assert json.loads((root / "reports/report.json").read_text())["definitions"]["scale_n4"]
    merged = tmp_path / "merged"
    assert command("report", "merge", "--local", root, "--local", STARTER, "--output", merged)[0] == 0
    assert set(TraceSet.from_path(merged).definitions) > {"scale_n4"}
    save_json_file(definition(description="another"), tmp_path / "other/definitions/scale/scale_n4.json")
    status, text = command(
        "report", "merge", "--local", root, "--local", tmp_path / "other", "--output", tmp_path / "no"
    )
    assert status == 1 and "expected the same in all sets" in text and not (tmp_path / "no").exists()
    with pytest.raises(SystemExit, match="2"):
        command("serve")
    (root / "definitions/scale/scale_n4.json").write_text("{")
    assert command("validate", "--dataset", root)[0] == 1


def test_programs_find_it_under_its_name(tmp_path):
    program = """
import flashinfer_bench as fib
from flashinfer_bench.data.workload import Workload
from flashinfer_bench.compile.registry import BuilderRegistry
from flashinfer_bench.bench.config import BenchmarkConfig
import flashinfer_bench.compile.runnable as runnable
assert runnable.Runnable
print(fib.Workload is Workload, BenchmarkConfig is fib.BenchmarkConfig, fib.__name__)
"""
    line = [sys.executable, "-m", "strobe.compat", "--", sys.executable, "-c", program]
    run = subprocess.run(line, capture_output=True, text=True)
    assert run.stdout.split() == ["True", "True", "strobe.compat.flashinfer_bench"], run.stderr
