"""Objects of the schema without pydantic: dataclasses that are checked and normalised by libstrobe's reader."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, ClassVar, TypeVar

from ..._native import module

M = TypeVar("M", bound="Model")


def plain(value: Any) -> Any:
    """What JSON has of a value; numbers that are not finite as texts."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def normalise(kind: str, content: Any, where: str) -> Any:
    """The content as the schema has it, every field there. ValueError names key, expectation and finding."""
    try:
        text = content if isinstance(content, str) else json.dumps(plain(content), ensure_ascii=False)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
    try:
        return json.loads(module()["strobe_trace_read"](kind, text, where, "bench"))
    except RuntimeError as error:
        raise ValueError(str(error)) from None


# Objects around parts of objects, which have no reader of their own.
_WORKLOAD = {"axes": {}, "inputs": {}, "uuid": "part"}
_SPEC = {"language": "python", "target_hardware": ["part"], "entry_point": "part.py::run"}


def around_definition(axes: Any, inputs: Any) -> dict[str, Any]:
    reference = "def run():\n    pass\n"
    return {"name": "part", "op_type": "part", "axes": axes, "inputs": inputs, "outputs": {}, "reference": reference}


def around_solution(spec: Any, sources: Any) -> dict[str, Any]:
    given = {"spec": spec or _SPEC, "sources": sources}
    return {"name": "part", "definition": "part", "author": "part", **given}


def around_evaluation(evaluation: Any) -> dict[str, Any]:
    return {"definition": "part", "workload": _WORKLOAD, "solution": "part", "evaluation": evaluation}


class Model:
    """What pydantic's models have for their users."""

    _kind: ClassVar[str] = ""  # of the reader; empty: a part of another object

    @classmethod
    def _from_json(cls: type[M], content: dict[str, Any]) -> M:
        """From normalised JSON."""
        names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in content.items() if name in names})

    @classmethod
    def model_validate(cls: type[M], content: Any) -> M:
        if isinstance(content, cls):
            return content
        return cls._from_json(normalise(cls._kind, content, cls.__name__) if cls._kind else content)

    @classmethod
    def model_validate_json(cls: type[M], text: str) -> M:
        return cls._from_json(normalise(cls._kind, text, cls.__name__) if cls._kind else json.loads(text))

    def model_dump(self, mode: str = "python", exclude_none: bool = False, **options: Any) -> dict[str, Any]:
        content = plain(self)
        return {k: v for k, v in content.items() if not (exclude_none and v is None)}

    def model_dump_json(self, indent: Any = None, **options: Any) -> str:
        return json.dumps(self.model_dump(**options), indent=indent, ensure_ascii=False)

    def model_copy(self: M, update: Any = None, deep: bool = False) -> M:
        return replace(self, **(update or {}))  # type: ignore[type-var]

    def _check_within(self, kind: str, whole: dict[str, Any]) -> None:
        """Checks a part by an object around it. Raises ValueError."""
        normalise(kind, whole, type(self).__name__)

    def _check(self) -> dict[str, Any]:
        return normalise(self._kind, self, type(self).__name__)  # type: ignore[no-any-return]
