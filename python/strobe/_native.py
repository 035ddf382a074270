"""libstrobe through tvm-ffi: operators bound by name, called by position.

tvm-ffi imports torch and numpy where they are installed, so it is loaded by the first operator call, never by
`import strobe`.
"""

from __future__ import annotations

import json
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

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


def _prepare(operator: str, arguments: Sequence[str], written: frozenset[str], values: tuple) -> list:
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
        prepared.append(stream)
    return prepared


class _Binding:
    """One native function: an operator with its arguments in a fixed order."""

    def __init__(self, operator: str, arguments: Sequence[str], handle: Any) -> None:
        self.operator = operator
        # "k[1=0]", index 0 of axis 1 of the tensor given, is the operand k.
        self.arguments = tuple(argument.partition("[")[0] for argument in arguments)
        operands = declaration(operator)["operands"]
        self.written = frozenset(o["name"] for o in operands if o["role"] != "input")
        tensors = {o["name"] for o in operands}
        self.tensor_positions = tuple(i for i, name in enumerate(self.arguments) if name in tensors)
        self.native = module()["strobe_function"](handle)

    def call(self) -> Callable[..., Any]:
        """The function as Python calls it: positional arguments, all of them; one more is the stream."""
        native, positions, direct = self.native, self.tensor_positions, _direct
        operator, arguments, written = self.operator, self.arguments, self.written
        first = positions[0] if positions else 0

        def call(*values: Any) -> Any:
            if type(values[first]) in direct:
                if not _is_grad_enabled():
                    return native(*values)
                for position in positions:
                    if getattr(values[position], "requires_grad", False):
                        break
                else:
                    try:
                        return native(*values)
                    except BufferError:  # not all of them are torch's
                        pass
            try:
                return native(*_prepare(operator, arguments, written, values))
            except BufferError as error:
                raise ValueError(f"{operator}: {error}") from None

        return call


def bind(operator: str, arguments: Sequence[str], backend: str = "auto") -> Callable[..., Any]:
    """A function of `operator` whose positional arguments are `arguments`. Raises ValueError on wrong names."""
    handle = module()["strobe_bind"](operator, ",".join(arguments), backend)
    return _Binding(operator, arguments, handle).call()


def bind_plan(
    operator: str, plan_arguments: Sequence[str], *run_arguments: Sequence[str], backend: str = "auto"
) -> tuple[Callable[..., Any], ...]:
    """A plan, which returns the bytes of its workspace, and the runs that go with it, one for each order of
    arguments. They share a state that lives as long as any of them; one thread at a time may use it."""
    plan = module()["strobe_bind"](operator, ",".join(plan_arguments), backend)
    runs = [(names, module()["strobe_bind_run"](plan, ",".join(names))) for names in run_arguments]
    return tuple(_Binding(operator, names, handle).call() for names, handle in [(plan_arguments, plan), *runs])


class Calls:
    """Functions of operators as attributes, bound when they are first used.

    Calls(rmsnorm="rmsnorm(input, weight, out, eps)").rmsnorm is a function of those four arguments.
    """

    def __init__(self, **signatures: str) -> None:
        self._signatures = signatures

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self._signatures:
            raise AttributeError(name)
        operator, _, arguments = self._signatures[name].rstrip(")").partition("(")
        bound = bind(operator, [argument.strip() for argument in arguments.split(",")])
        setattr(self, name, bound)
        return bound
