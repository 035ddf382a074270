"""`flashinfer_bench.data`: the objects of the schema and their files."""

from .definition import AxisConst, AxisSpec, AxisVar, Definition, DType, TensorSpec
from .json_utils import append_jsonl_file, load_json_file, load_jsonl_file, save_json_file, save_jsonl_file
from .solution import BuildSpec, Solution, SourceFile, SupportedBindings, SupportedLanguages
from .trace import Correctness, Environment, Evaluation, EvaluationStatus, Performance, Trace
from .trace_set import TraceSet
from .workload import InputSpec, RandomInput, SafetensorsInput, ScalarInput, Workload

__all__ = [
    "AxisConst", "AxisSpec", "AxisVar", "BuildSpec", "Correctness", "DType", "Definition", "Environment",
    "Evaluation", "EvaluationStatus", "InputSpec", "Performance", "RandomInput", "SafetensorsInput", "ScalarInput",
    "Solution", "SourceFile", "SupportedBindings", "SupportedLanguages", "TensorSpec", "Trace", "TraceSet",
    "Workload", "append_jsonl_file", "load_json_file", "load_jsonl_file", "save_json_file", "save_jsonl_file",
]  # fmt: skip
