"""Holds the corpus and the starter data set against FlashInfer-Bench's own reader, where that is installed: what we call good it reads, what we call
bad it refuses. Exit status 77: it is not installed (pip install --no-deps flashinfer-bench; pip install pydantic).

Its package imports torch and FlashInfer; the data model alone needs neither, so they are stood in for.
"""
import importlib.util
import pathlib
import sys
import types
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "trace" / "corpus"
# What the original reads, and we do not.
KNOWN = {
    "definition_axis_beyond_64_bit.json",  # no tensor is that long
    "trace_solution_without_evaluation.jsonl",  # neither a workload nor what a solution did on one
}


def data_model():
    spec = importlib.util.find_spec("flashinfer_bench")
    if spec is None or importlib.util.find_spec("pydantic") is None:
        print("flashinfer-bench is not installed")
        sys.exit(77)
    package = types.ModuleType("flashinfer_bench")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["flashinfer_bench"] = package
    for name in ("torch", "safetensors", "safetensors.torch"):
        sys.modules.setdefault(name, mock.MagicMock())
    from flashinfer_bench.data.definition import Definition
    from flashinfer_bench.data.solution import Solution
    from flashinfer_bench.data.trace import Trace

    return {"definition": Definition, "solution": Solution, "trace": Trace}


def read(models, kind, path):
    """The file's objects; raises what the original raises."""
    text = path.read_text()
    texts = [line for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else [text]
    return [models[kind].model_validate_json(part) for part in texts]


def main():
    models = data_model()
    wrong = []
    checked, reason = 0, ""
    for verdict in ("good", "bad"):
        for path in sorted((CORPUS / verdict).glob("*.json*")):
            if ".flashinfer." in path.name:
                continue
            checked += 1
            try:
                read(models, path.name.split("_")[0], path)
                found, reason = "good", ""
            except Exception as error:  # noqa: BLE001: whatever it raises is a refusal
                found, reason = "bad", str(error).splitlines()[:3]
            if (found != verdict) != (path.name in KNOWN):
                wrong.append(f"{path.name}: we say {verdict}, the original {found} {reason}")
    starter = ROOT / "datasets" / "starter"
    for kind, pattern in (("definition", "definitions/**/*.json"), ("solution", "solutions/**/*.json"), ("trace", "workloads/**/*.jsonl"), ("trace", "traces/**/*.jsonl")):
        for path in sorted(starter.glob(pattern)):
            checked += 1
            try:
                read(models, kind, path)
            except Exception as error:  # noqa: BLE001
                wrong.append(f"{path.relative_to(starter)}: the original refuses it: {error}")
    print(f"{checked} files, {len(wrong)} differences")
    print("\n".join(wrong))
    return bool(wrong)


sys.exit(main())
