#!/usr/bin/env python3
"""What apply() adds to a call from Python, and beside it FlashInfer-Bench's, where that is installed.

The solution does nothing, so that all of the time is the way to it: three tensors of torch (or numpy, without torch),
as an rmsnorm has them whose output is given. Prints microseconds, the best of five repetitions:

    benchmarks/apply_overhead.py
"""

import importlib
import json
import tempfile
import timeit
from pathlib import Path

from strobe.apply import ApplyConfig, enable_apply
from strobe.apply import apply as strobe_apply

CALLS = 50_000
HARDWARE = "any"


def write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content) + "\n")


def make_data_set(root: Path) -> None:
    rows = {"shape": ["rows", "n"], "dtype": "float32"}
    definition = {
        "name": "norm", "op_type": "rmsnorm", "axes": {"rows": {"type": "var"}, "n": {"type": "const", "value": 4096}},
        "inputs": {"x": rows, "w": {"shape": ["n"], "dtype": "float32"}}, "outputs": {"y": rows},
        "reference": "def run(x, w):\n    pass\n",
    }  # fmt: skip
    spec = {"language": "python", "target_hardware": ["CPU"], "entry_point": "main.py::run"}
    sources = [{"path": "main.py", "content": "def run(x, w, y):\n    pass\n"}]
    evaluation = {
        "status": "PASSED", "environment": {"hardware": HARDWARE}, "timestamp": "2026-01-01", "correctness": {},
        "performance": {"latency_ms": 1, "reference_latency_ms": 1, "speedup_factor": 1},
    }  # fmt: skip
    workload = {"axes": {"rows": 16}, "inputs": {}, "uuid": "w"}
    write(root / "definitions/rmsnorm/norm.json", definition)
    write(root / "solutions/me/rmsnorm/norm/nothing.json",
          {"name": "nothing", "definition": "norm", "author": "me", "spec": spec, "sources": sources})  # fmt: skip
    write(root / "traces/me/rmsnorm/norm.jsonl",
          {"definition": "norm", "workload": workload, "solution": "nothing", "evaluation": evaluation})  # fmt: skip


def tensors(rows: int) -> tuple:
    try:
        torch = importlib.import_module("torch")
        return tuple(torch.empty(shape) for shape in ((rows, 4096), (4096,), (rows, 4096)))
    except ModuleNotFoundError:
        numpy = importlib.import_module("numpy")
        return tuple(numpy.empty(shape, numpy.float32) for shape in ((rows, 4096), (4096,), (rows, 4096)))


def report(name: str, apply: object) -> None:
    def microseconds(call: object) -> float:
        return min(timeit.repeat(call, number=CALLS, repeat=5)) / CALLS * 1e6

    def fall_back(*args: object) -> str:
        return "fallback"

    hit, miss = tensors(16), tensors(17)
    assert apply("norm", hit, None, fall_back) is None and apply("norm", miss, None, fall_back) == "fallback"
    print(
        f"{name:<18} hit {microseconds(lambda: apply('norm', hit, None, fall_back)):5.2f}"
        f"   by name {microseconds(lambda: apply('norm', hit[:2], {'y': hit[2]}, fall_back)):5.2f}"
        f"   miss {microseconds(lambda: apply('norm', miss, None, fall_back)):5.2f}"
        f"   unknown definition {microseconds(lambda: apply('other', hit, None, fall_back)):5.2f}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_data_set(Path(folder))
        with enable_apply(folder, ApplyConfig(hardware=HARDWARE), adapters=False):
            report("strobe", strobe_apply)
        try:
            theirs = importlib.import_module("flashinfer_bench")
        except ModuleNotFoundError as missing:
            print(f"flashinfer-bench    not measured: {missing}")
            return
        with theirs.enable_apply(folder):
            report("flashinfer-bench", theirs.apply)


if __name__ == "__main__":
    main()
