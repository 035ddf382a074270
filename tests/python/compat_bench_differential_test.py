"""strobe.compat.flashinfer_bench beside the original, where that is installed."""

import json
import math
import os
import random
import shutil

import pytest

pytest.importorskip("pydantic", reason="pydantic, and so FlashInfer-Bench, is not installed")
theirs = pytest.importorskip("flashinfer_bench", reason="FlashInfer-Bench is not installed")

import strobe.compat.flashinfer_bench as ours  # noqa: E402

STARTER = os.path.join(os.path.dirname(__file__), "..", "..", "datasets", "starter")


def content(item):
    return item and json.loads(item.model_dump_json())


@pytest.fixture
def both(tmp_path):
    """The same data set, with 200 random traces, read by both."""
    root = tmp_path / "starter"
    shutil.copytree(STARTER, root)
    numbers = random.Random(1)
    trace_set = ours.TraceSet.from_path(root)
    for _ in range(200):
        definition = numbers.choice(list(trace_set.definitions))
        status = numbers.choice(["PASSED"] * 6 + ["TIMEOUT", "INCORRECT_NUMERICAL"])
        errors = {
            "max_relative_error": numbers.choice([1e-6, 1e-4, 1.0, math.inf]),
            "max_absolute_error": numbers.choice([1e-6, 0.5]),
        }
        latency = numbers.uniform(0.1, 2)
        evaluation = ours.Evaluation(
            status, ours.Environment("a machine"), "2026-11-20T12:00:00",
            correctness=None if status == "TIMEOUT" else ours.Correctness(**errors),
            performance=ours.Performance(latency, 1.0, 1 / latency) if status == "PASSED" else None,
        )  # fmt: skip
        workload = numbers.choice(trace_set.workloads[definition]).workload
        trace_set.add_traces(
            [ours.Trace(definition, workload, numbers.choice(trace_set.solutions[definition]).name, evaluation)]
        )
    return trace_set.from_path(root), theirs.TraceSet.from_path(str(root))


def test_the_same_files_are_the_same_objects(both):
    a, b = (json.loads(json.dumps(trace_set.to_dict())) for trace_set in both)
    for part in ("definitions", "solutions", "workload"):
        assert a[part] == b[part]
    assert {name: [content(t) for t in group] for name, group in both[0].traces.items()} == {
        name: [content(t) for t in group] for name, group in both[1].traces.items()
    }
    for name, definition in both[0].definitions.items():
        values = {axis: 3 for axis in definition.var_axes}
        other = both[1].definitions[name]
        assert definition.get_input_shapes(values) == [
            s if s is None else tuple(s) for s in other.get_input_shapes(values)
        ]
        assert definition.var_axes_bindings == dict(other.var_axes_bindings)


@pytest.mark.parametrize("bound", [1e-2, 1e-5, 10])
def test_the_same_traces_are_chosen(both, bound):
    a, b = both
    assert a.summary() == b.summary()
    for name in a.definitions:
        assert [content(t) for t in a.filter_traces(name, bound, bound)] == [
            content(t) for t in b.filter_traces(name, bound, bound)
        ]
        for workload in a.workloads[name]:
            axes = workload.workload.axes
            assert content(a.get_best_trace(name, axes, bound, bound)) == content(
                b.get_best_trace(name, axes, bound, bound)
            )
