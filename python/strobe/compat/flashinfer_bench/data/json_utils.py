"""Files of single objects, and of one object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterable, TypeVar, Union

from ...._native import module
from .._model import Model

M = TypeVar("M", bound=Model)
PathLike = Union[str, Path]


def load_json_file(model: type[M], path: PathLike) -> M:
    return model.model_validate_json(Path(path).read_text())


def save_json_file(item: Model, path: PathLike) -> None:
    """The file is there as a whole, or as it was."""
    module()["strobe_trace_write"](str(path), item.model_dump_json(indent=2) + "\n", False)


def load_jsonl_file(model: type[M], path: PathLike) -> list[M]:
    return [model.model_validate_json(line) for line in Path(path).read_text().splitlines() if line.strip()]


def save_jsonl_file(items: Iterable[Model], path: PathLike) -> None:
    text = "".join(_line(item) + "\n" for item in items)
    module()["strobe_trace_write"](str(path), text, False)


def append_jsonl_file(items: Iterable[Model], path: PathLike) -> None:
    """Under a lock, and on the disk when this returns."""
    for item in items:
        module()["strobe_trace_write"](str(path), _line(item), True)


def _line(item: Any) -> str:
    return json.dumps(item.model_dump(), separators=(",", ":"), ensure_ascii=False)
