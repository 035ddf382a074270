"""Small data sets for the tests of apply and tracing, written file by file."""

import json
from pathlib import Path

HARDWARE = "a test machine"


def axes(**values):
    return {
        name: {"type": "var"} if value is None else {"type": "const", "value": value} for name, value in values.items()
    }


def tensors(dtype="float32", **shapes):
    """Tensors by name: a list of axes, None for a scalar; a pair has a dtype of its own."""
    specs = {}
    for name, shape in shapes.items():
        shape, own = shape if isinstance(shape, tuple) else (shape, dtype)
        specs[name] = {"shape": shape, "dtype": own}
    return specs


class Writer:
    def __init__(self, root):
        self.root = Path(root)

    def definition(self, name, op_type, axes, inputs, outputs, reference="def run(*args):\n    pass\n"):
        self._write(
            f"definitions/{op_type}/{name}.json",
            {
                "name": name,
                "op_type": op_type,
                "axes": axes,
                "inputs": inputs,
                "outputs": outputs,
                "reference": reference,
            },
        )

    def solution(self, name, definition, source, language="python", dps=True, dependencies=(), **files):
        entry = "main.cc" if language == "cpp" else "main.py"
        content = {entry: source, **{f"{file}.py": text for file, text in files.items()}}
        spec = {
            "language": language,
            "target_hardware": ["CPU"],
            "entry_point": f"{entry}::run",
            "dependencies": list(dependencies),
        }
        spec["destination_passing_style"] = dps
        sources = [{"path": path, "content": text} for path, text in content.items()]
        solution = {"name": name, "definition": definition, "author": "me", "spec": spec, "sources": sources}
        self._write(f"solutions/me/op/{definition}/{name}.json", solution)

    def trace(self, definition, solution, ms=1.0, status="PASSED", hardware=HARDWARE, **axes):
        evaluation = {"status": status, "environment": {"hardware": hardware}, "timestamp": "2026-11-20T12:00:00"}
        if status == "PASSED":
            evaluation |= {
                "correctness": {},
                "performance": {"latency_ms": ms, "reference_latency_ms": 1, "speedup_factor": 1 / ms},
            }
        workload = {"axes": axes, "inputs": {}, "uuid": str(axes)}
        self._append(
            f"traces/me/op/{definition}.jsonl",
            {"definition": definition, "solution": solution, "workload": workload, "evaluation": evaluation},
        )

    def _write(self, place, content):
        file = self.root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))

    def _append(self, place, line):
        file = self.root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as out:
            out.write(json.dumps(line) + "\n")
