"""libstrobe through tvm-ffi: operators bound by name, called by position.

tvm-ffi imports torch and numpy where they are installed, so it is loaded by the first operator call, never by
`import strobe`.
"""

from __future__ import annotations

import json
import sys
import threading
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

from ._errors import Unsupported
from ._frameworks import Torch, find_framework

_lock = threading.Lock()
_module: Any = None
# Types whose values tvm-ffi takes as they are: torch's. Found again by every call, hence a set of its own.
_direct: set[type] = set()


def library_path() -> Path:
    """Where libstrobe is."""
    return Path(__file__).parent / "lib" / "libstrobe.so"


def module() -> Any:
    """libstrobe as a module of tvm-ffi."""
    global _module
    if _module is None:
        with _lock:
            if _module is None:
                import tvm_ffi

                tvm_ffi.register_error("strobe.Unsupported", Unsupported)
                _module = tvm_ffi.load_module(str(library_path()))
    return _module


@lru_cache(maxsize=None)
def operators() -> dict[str, dict[str, Any]]:
    """The library's declarations by name: operands, attributes, dtypes, shapes, formulas."""
    return {operator["name"]: operator for operator in json.loads(module()["strobe_describe"]())}


def declaration(name: str) -> dict[str, Any]:
    """The declaration of one operator. Raises ValueError that lists them."""
    try:
        return operators()[name]
    except KeyError:
        raise ValueError(f"unknown operator '{name}'; known: {', '.join(operators())}") from None


def _no_grad_mode() -> bool:
    return False


_is_grad_enabled: Callable[[], bool] = _no_grad_mode


def _prepare(operator: str, arguments: Sequence[str], written: frozenset[str], values: tuple[Any, ...]) -> list[Any]:
    """The values as tvm-ffi takes them, and at the end the stream if it is given or tvm-ffi would not find it."""
    global _is_grad_enabled
    prepared = []
    stream: Optional[int] = None
    for name, value in zip(arguments, values):
        framework = find_framework(value)
        if framework is not None:
            if isinstance(framework, Torch) and type(value) not in _direct:
                _is_grad_enabled = sys.modules["torch"].is_grad_enabled
                _direct.add(type(value))
            value = framework.argument(value, name in written, f"{operator}: {name}")
            stream = stream or framework.stream()
        prepared.append(value)
    if len(values) > len(arguments):  # the caller says the stream
        prepared.append(values[-1])
    elif stream is not None:
        prepared += [None] * (len(arguments) - len(values))
        prepared.append(stream)
    return prepared


class _Binding:
    """One native function: an operator with its arguments in a fixed order."""

    def __init__(self, operator: str, arguments: Sequence[str], handle: Any) -> None:
        self.operator = operator
        # "k[1=0]", index 0 of axis 1 of the tensor given, is the operand k; "k[1=0]+v[1=1]" share a tensor.
        self.arguments = tuple(argument.partition("[")[0] for argument in arguments)
        operands = {o["name"]: o for o in declaration(operator)["operands"]}
        self.written = frozenset(name for name, o in operands.items() if o["role"] != "input")
        self.tensor_positions = tuple(i for i, name in enumerate(self.arguments) if name in operands)
        # Inputs of one dtype, such as index arrays: FlashInfer's callers bring others, which it converts.
        self.single_dtypes = {
            i: operands[self.arguments[i]]["dtypes"][0]
            for i in self.tensor_positions
            if operands[self.arguments[i]]["role"] == "input" and operands[self.arguments[i]]["dtypes"] in (["i32"], ["f32"])
        }
        self.native = module()["strobe_function"](handle)

    def call(self) -> Callable[..., Any]:
        """The function as Python calls it: positional arguments, all of them; one more is the stream."""
        native, direct, careful = self.native, _direct, self._careful_call
        first = self.tensor_positions[0] if self.tensor_positions else 0

        def call(*values: Any) -> Any:
            if type(values[first]) in direct and not (
                _is_grad_enabled() and any(getattr(value, "requires_grad", False) for value in values)
            ):
                try:
                    return native(*values)
                except (BufferError, ValueError):
                    pass  # not all of them are torch's, or not all are as the operator takes them
            return careful(values)

        return call

    def _careful_call(self, values: tuple[Any, ...]) -> Any:
        try:
            return self.native(*_prepare(self.operator, self.arguments, self.written, values))
        except BufferError as error:
            raise ValueError(f"{self.operator}: {error}") from None
        except ValueError:
            converted = self._convert(values)
            if all(new is old for new, old in zip(converted, values)):
                raise
            return self.native(*_prepare(self.operator, self.arguments, self.written, tuple(converted)))

    def _convert(self, values: tuple[Any, ...]) -> list[Any]:
        """The values, with those inputs of another dtype converted that are taken in one dtype alone."""
        converted = list(values)
        for position, dtype in self.single_dtypes.items():
            if position < len(values) and (framework := find_framework(values[position])) is not None:
                who = f"{self.operator}: {self.arguments[position]}"
                converted[position] = framework.convert(values[position], dtype, who)
        return converted


def bind(operator: str, arguments: Sequence[str], backend: str = "auto") -> Callable[..., Any]:
    """A function of `operator` whose positional arguments are `arguments`. Raises ValueError on wrong names."""
    handle = module()["strobe_bind"](operator, ",".join(arguments), backend)
    return _Binding(operator, arguments, handle).call()


class Plan:
    """A plan and the functions that go with it. They share a state that lives as long as any of them; one thread at a
    time may use it."""

    def __init__(self, operator: str, backend: str = "auto") -> None:
        self._operator = operator
        self._state = module()["strobe_bind"](operator, "", backend)
        self._owner = module()["strobe_function"](self._state)

    def function(self, bound: str, arguments: Sequence[str]) -> Callable[..., Any]:
        """The plan by these `arguments`, which returns the bytes of its workspace; "again", the last plan with these
        attributes given anew, and its arrays as they were; or its "run"."""
        handle = module()["strobe_bind_to"](self._state, bound, ",".join(arguments))
        return _Binding(self._operator, arguments, handle).call()


class Calls:
    """Functions of operators as attributes, bound when they are first used.

    Calls(rmsnorm="rmsnorm(input, weight, out, eps)").rmsnorm is a function of those four arguments.
    """

    def __init__(self, **signatures: str) -> None:
        for name, signature in signatures.items():
            setattr(self, name, partial(self._first_call, name, signature))

    def _first_call(self, name: str, signature: str, *values: Any) -> Any:
        operator, _, arguments = signature.rstrip(")").partition("(")
        bound = bind(operator, [argument.strip() for argument in arguments.split(",")])
        setattr(self, name, bound)
        return bound(*values)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]: ...
