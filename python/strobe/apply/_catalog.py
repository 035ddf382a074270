"""Which definition of a data set describes a call of an engine: by operator, sizes of the model, inputs and dtypes, so
that names may be anything."""

from __future__ import annotations

import re
from typing import Any, Callable, Optional

from .._frameworks import find_framework

Definition = dict[str, Any]

_FLOAT = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])")


def dtype_of(tensor: Any) -> str:
    """The schema's name of a tensor's dtype."""
    return str(tensor.dtype).rpartition(".")[2] if find_framework(tensor) is not None else ""


def has_number(definition: Definition, number: float) -> bool:
    """Whether a number stands in the definition's reference, which is where the schema has constants such as eps."""
    return any(float(text) == number for text in _FLOAT.findall(definition["reference"]))


class Catalog:
    """The definitions of a data set by operator; what was looked for once is found again at once."""

    def __init__(self, definitions: dict[str, Definition]) -> None:
        self._by_op_type: dict[str, list[Definition]] = {}
        for definition in definitions.values():
            self._by_op_type.setdefault(definition["op_type"], []).append(definition)
        self._found: dict[Any, Optional[Definition]] = {}

    def find(
        self,
        op_types: tuple[str, ...],
        constants: tuple[tuple[str, int], ...],
        dtypes: tuple[tuple[str, str], ...],
        inputs: frozenset[str],
        condition: tuple[Any, ...] = (),
        fits: Callable[[Definition], bool] = lambda definition: True,
    ) -> Optional[Definition]:
        """The first definition of these operators with these constant axes, with inputs of these dtypes, whose inputs
        are among `inputs`, and that `fits`; None when there is none. `condition` stands for `fits` in what is kept.
        """
        key = (op_types, constants, dtypes, inputs, condition)
        if key not in self._found:
            self._found[key] = next(
                (
                    d
                    for op_type in op_types
                    for d in self._by_op_type.get(op_type, [])
                    if set(d["inputs"]) <= inputs
                    and all(d["axes"].get(axis, {}).get("value") == value for axis, value in constants)
                    and all(d["inputs"].get(name, {}).get("dtype") == dtype for name, dtype in dtypes)
                    and fits(d)
                ),
                None,
            )
        return self._found[key]
