"""Solution and its parts: a kernel with its sources."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Optional

from ...._native import module
from .._model import Model, around_solution, plain


class SupportedLanguages(str, Enum):
    PYTHON = "python"
    TRITON = "triton"
    CPP = "cpp"
    CUDA = "cuda"
    TILELANG = "tilelang"


class SupportedBindings(str, Enum):
    TVM_FFI = "tvm-ffi"
    TORCH = "torch"


@dataclass(frozen=True)
class SourceFile(Model):
    path: str
    content: str

    def __post_init__(self) -> None:
        spec = {"language": "cpp", "target_hardware": ["part"], "entry_point": f"{self.path}::run"}
        self._check_within("solution", around_solution(spec, [self]))


@dataclass(frozen=True)
class BuildSpec(Model):
    language: SupportedLanguages
    target_hardware: list[str]
    entry_point: str
    dependencies: list[str] = field(default_factory=list)
    destination_passing_style: bool = True
    binding: Optional[SupportedBindings] = None

    def __post_init__(self) -> None:
        entry = {"path": str(self.entry_point).partition("::")[0], "content": "part"}
        self._check_within("solution", around_solution(self, [entry]))
        object.__setattr__(self, "language", SupportedLanguages(self.language))
        object.__setattr__(self, "binding", None if self.binding is None else SupportedBindings(self.binding))


@dataclass(frozen=True, eq=False)
class Solution(Model):
    """Checked when it is made. Equal to those of the same content, whatever their names."""

    _kind: ClassVar[str] = "solution"

    name: str
    definition: str
    author: str
    spec: BuildSpec
    sources: list[SourceFile]
    description: Optional[str] = None

    def __post_init__(self) -> None:
        content = self._check()
        object.__setattr__(self, "spec", BuildSpec._from_json(content["spec"]))
        object.__setattr__(self, "sources", [SourceFile._from_json(source) for source in content["sources"]])

    def hash(self) -> str:
        """FlashInfer-Bench's content hash."""
        return str(
            module()["strobe_trace_read"]("hash", json.dumps(plain(self), ensure_ascii=False), self.name, "bench")
        )

    def __hash__(self) -> int:
        return hash(self.hash())

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Solution) and self.hash() == other.hash()

    def with_unique_name(self) -> Solution:
        return self.model_copy({"name": f"{self.name}_{self.hash()[:8]}"})

    def get_entry_path(self) -> str:
        return self.spec.entry_point.partition("::")[0]

    def get_entry_symbol(self) -> str:
        return self.spec.entry_point.partition("::")[2]

    def get_entry_source(self) -> Optional[SourceFile]:
        return next((source for source in self.sources if source.path == self.get_entry_path()), None)
