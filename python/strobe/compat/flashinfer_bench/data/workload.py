"""Workload: sizes, and where the inputs come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Union

from .._model import Model


@dataclass
class RandomInput(Model):
    type: str = "random"


@dataclass
class ScalarInput(Model):
    value: Union[bool, int, float]
    type: str = "scalar"


@dataclass
class SafetensorsInput(Model):
    path: str
    tensor_key: str
    type: str = "safetensors"


InputSpec = Union[RandomInput, ScalarInput, SafetensorsInput]


def _input(content: dict[str, Any]) -> InputSpec:
    kinds: dict[str, Any] = {"scalar": ScalarInput, "safetensors": SafetensorsInput, "random": RandomInput}
    return kinds[content["type"]]._from_json(content)  # type: ignore[no-any-return]


@dataclass
class Workload(Model):
    """Checked when it is made."""

    _kind: ClassVar[str] = "workload"

    axes: dict[str, int]
    inputs: dict[str, InputSpec]
    uuid: str

    def __post_init__(self) -> None:
        content = self._check()
        self.axes = content["axes"]
        self.inputs = {name: _input(given) for name, given in content["inputs"].items()}
