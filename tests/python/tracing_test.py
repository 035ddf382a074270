"""Calls recorded as workloads, from Python."""

import json
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import strobe
from data_sets import HARDWARE, Writer, axes, tensors
from strobe.apply import ApplyConfig, apply, enable_apply
from strobe.tracing import TracingConfig, disable_tracing, enable_tracing


@pytest.fixture
def data_set(tmp_path):
    writer = Writer(tmp_path)
    shapes = {"hidden_states": ["batch_size", "hidden_size"], "weight": ["hidden_size"]}
    writer.definition(
        "rmsnorm_h8", "rmsnorm", axes(batch_size=None, hidden_size=8), tensors("bfloat16", **shapes),
        tensors("bfloat16", output=["batch_size", "hidden_size"]), "def run(x, w):\n    return x + 1e-6\n",
    )  # fmt: skip
    writer.definition(
        "gather", "gather", axes(n=None), tensors(x=["n"], indices=(["n"], "int64"), scale=None), tensors(y=["n"])
    )
    yield writer
    disable_tracing()


def workloads(data_set, definition="gather", op_type="gather"):
    file = data_set.root / f"workloads/{op_type}/{definition}.jsonl"
    return [json.loads(line)["workload"] for line in file.read_text().splitlines()] if file.exists() else []


def call(n):
    return apply("gather", (np.ones(n, np.float32), np.arange(n)), {"scale": 2.0}, lambda *args, **kwargs: "ran")


def test_calls_become_workloads(data_set):
    with enable_tracing(str(data_set.root)) as runtime:
        assert call(3) == "ran" and call(3) == "ran" and call(4) == "ran"
        assert apply("unknown", (1,), fallback=lambda x: x) == 1
        statistics = runtime.statistics()
    assert call(5) == "ran"
    recorded = workloads(data_set)
    assert [w["axes"] for w in recorded] == [{"n": 3}, {"n": 4}]
    assert recorded[0]["inputs"]["x"] == {"type": "random"}
    assert recorded[0]["inputs"]["scale"] == {"type": "scalar", "value": 2.0}
    assert recorded[0]["inputs"]["indices"]["tensor_key"] == "indices"
    header = (data_set.root / recorded[0]["inputs"]["indices"]["path"]).read_bytes()
    assert b'"I64"' in header and header.endswith(np.arange(3).tobytes())
    assert statistics["definitions"]["gather"] == {"recorded": 2, "passed over": {"the rule": 1}}
    assert statistics["unknown"] == {"there is no definition 'unknown'": 1}


def test_rules_by_definition(data_set):
    rule = TracingConfig(keep="all", values=["x"])
    with enable_tracing(str(data_set.root), TracingConfig(keep="none"), {"gather": rule}, max_workloads=2):
        for _ in range(3):
            call(3)
    recorded = workloads(data_set)
    assert len(recorded) == 2
    assert recorded[0]["inputs"]["x"]["type"] == "safetensors" and recorded[0]["inputs"]["indices"]["type"] == "random"
    with pytest.raises(ValueError, match="keep: expected one of"):
        TracingConfig(keep="some")
    with pytest.raises(ValueError, match="values: expected"):
        TracingConfig(values="floats")


def test_functions_of_flashinfers_shape_are_recorded(data_set):
    x, w = np.ones((5, 8), ml_dtypes.bfloat16), np.ones(8, ml_dtypes.bfloat16)
    with enable_tracing(str(data_set.root), TracingConfig(values="all")):
        y = strobe.rmsnorm(x, w)
    assert y.shape == x.shape and y.dtype == x.dtype
    (workload,) = workloads(data_set, "rmsnorm_h8", "rmsnorm")
    assert workload["axes"] == {"batch_size": 5}
    assert b'"BF16"' in (data_set.root / workload["inputs"]["weight"]["path"]).read_bytes()


def test_with_apply_what_has_no_solution_is_recorded(data_set):
    data_set.solution("fill", "gather", "def run(x, indices, scale, y):\n    y[...] = 9\n")
    data_set.trace("gather", "fill", n=3)
    with enable_apply(data_set.root, ApplyConfig(hardware=HARDWARE)), enable_tracing(str(data_set.root)):
        assert (call(3) == 9).all()
        assert call(4) == "ran"
    assert [w["axes"] for w in workloads(data_set)] == [{"n": 4}]


def test_what_is_recorded_passes_validation_and_survives_a_kill(data_set):
    program = """
import numpy as np, os, signal, strobe
from strobe.apply import apply
for n in (3, 4):
    apply("gather", (np.ones(n, np.float32), np.arange(n), 2.0), fallback=lambda *args: None)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "FIB_ENABLE_TRACING": "1", "STROBE_DATASET_PATH": str(data_set.root)}
    subprocess.run([sys.executable, "-c", program], env=environment)
    assert [w["axes"] for w in workloads(data_set)] == [{"n": 3}, {"n": 4}]
    command = [sys.executable, "-m", "strobe", "trace", "validate", str(data_set.root), "--checks", "workload"]
    assert subprocess.run(command, capture_output=True).returncode == 0
