"""Definition and its parts: what a kernel computes."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Optional, Sequence, Union

from .._model import Model, around_definition


class DType(str, Enum):
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT4_E2M1 = "float4_e2m1"
    INT64 = "int64"
    INT32 = "int32"
    INT16 = "int16"
    INT8 = "int8"
    BOOL = "bool"


@dataclass
class AxisConst(Model):
    value: int
    description: Optional[str] = None
    type: str = "const"

    def __post_init__(self) -> None:
        self._check_within("definition", around_definition({"axis": self}, {}))


@dataclass
class AxisVar(Model):
    description: Optional[str] = None
    type: str = "var"


AxisSpec = Union[AxisConst, AxisVar]


@dataclass
class TensorSpec(Model):
    """`shape` names axes; None: a scalar of Python."""

    shape: Optional[list[str]]
    dtype: DType
    description: Optional[str] = None

    def __post_init__(self) -> None:
        axes = {str(axis): {"type": "var"} for axis in self.shape or ()}
        self._check_within("definition", around_definition(axes, {"tensor": self}))
        self.dtype = DType(self.dtype)


@dataclass
class Definition(Model):
    """Checked when it is made: ValueError names what breaks the schema."""

    _kind: ClassVar[str] = "definition"

    name: str
    op_type: str
    axes: dict[str, AxisSpec]
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    reference: str
    tags: list[str] = field(default_factory=list)
    description: Optional[str] = None
    constraints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        content = self._check()
        _check_python(self.reference, self.constraints)
        self.axes = {
            name: (
                AxisConst._from_json(axis)
                if "value" in axis and axis["value"] is not None
                else AxisVar._from_json(axis)
            )
            for name, axis in content["axes"].items()
        }
        self.inputs = {name: TensorSpec._from_json(spec) for name, spec in content["inputs"].items()}
        self.outputs = {name: TensorSpec._from_json(spec) for name, spec in content["outputs"].items()}

    @property
    def const_axes(self) -> dict[str, int]:
        return {name: axis.value for name, axis in self.axes.items() if isinstance(axis, AxisConst)}

    @property
    def var_axes(self) -> list[str]:
        return [name for name, axis in self.axes.items() if isinstance(axis, AxisVar)]

    @property
    def var_axes_bindings(self) -> dict[str, tuple[str, int]]:
        """For each variable axis the first input that has it, and where."""
        bindings: dict[str, tuple[str, int]] = {}
        for name, spec in self.inputs.items():
            for place, axis in enumerate(spec.shape or ()):
                if isinstance(self.axes[axis], AxisVar):
                    bindings.setdefault(axis, (name, place))
        return bindings

    def get_axes_values(self, input_shapes: Sequence[Optional[Sequence[int]]]) -> dict[str, int]:
        """The variable axes of these shapes. ValueError: another rank, an axis with two values or none."""
        values: dict[str, int] = {}
        for (name, spec), shape in zip(self.inputs.items(), input_shapes):
            if spec.shape is None:
                continue
            if shape is None or len(shape) != len(spec.shape):
                raise ValueError(f"{name}: expected {len(spec.shape)} axes, got {shape}")
            for axis, extent in zip(spec.shape, shape):
                if isinstance(self.axes[axis], AxisVar) and values.setdefault(axis, int(extent)) != extent:
                    raise ValueError(f"{name}: expected axis '{axis}' to be {values[axis]}, got {extent}")
        missing = set(self.var_axes) - set(values)
        if missing:
            raise ValueError(f"Missing values of axes: {', '.join(sorted(missing))}")
        return values

    def get_axes_values_from_inputs(self, inputs: Sequence[Any]) -> dict[str, int]:
        return self.get_axes_values([tuple(v.shape) if hasattr(v, "shape") else None for v in inputs])

    def _shapes(self, tensors: dict[str, TensorSpec], values: dict[str, int]) -> list[Optional[tuple[int, ...]]]:
        sizes = {**self.const_axes, **(values or {})}
        missing = {axis for spec in tensors.values() for axis in spec.shape or () if axis not in sizes}
        if missing:
            raise ValueError(f"Missing values of axes: {', '.join(sorted(missing))}")
        return [None if spec.shape is None else tuple(sizes[axis] for axis in spec.shape) for spec in tensors.values()]

    def get_input_shapes(self, var_values: dict[str, int]) -> list[Optional[tuple[int, ...]]]:
        return self._shapes(self.inputs, var_values)

    def get_output_shapes(self, var_values: dict[str, int]) -> list[Optional[tuple[int, ...]]]:
        return self._shapes(self.outputs, var_values)

    @property
    def torch_input_dtypes(self) -> list[Any]:
        return [_torch_dtype(spec.dtype) for spec in self.inputs.values()]

    @property
    def torch_output_dtypes(self) -> list[Any]:
        return [_torch_dtype(spec.dtype) for spec in self.outputs.values()]

    def merge_kwargs_to_args(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Inputs and then outputs in order, up to the first that is missing; unknown names are passed over."""
        from ....apply._runtime import merge

        content = {"name": self.name, "inputs": self.inputs, "outputs": self.outputs}
        return tuple(merge(content, args, kwargs))


def _check_python(reference: str, constraints: list[str]) -> None:
    """What takes a parser of Python. Raises ValueError."""
    try:
        ast.parse(reference)
    except SyntaxError as error:
        raise ValueError(f"reference: expected Python, got an error in line {error.lineno}: {error.msg}") from None
    for constraint in constraints:
        try:
            ast.parse(constraint, mode="eval")
        except SyntaxError as error:
            raise ValueError(f"constraints: expected expressions, got {constraint!r}: {error.msg}") from None


def _torch_dtype(dtype: DType) -> Any:
    import torch

    return getattr(torch, "float4_e2m1fn_x2" if dtype is DType.FLOAT4_E2M1 else dtype.value)
