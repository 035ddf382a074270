"""Every operator of the library under its own name, straight from its declaration: nothing here lists them.

`strobe.ops.rmsnorm(input=x, weight=w, out=y, eps=1e-5)` gives all operands, outputs too; what is left away and
may be keeps its default. An operator that splits into plan and run is a class:

    attention = strobe.ops.batch_attention_paged()
    attention.plan(qo_indptr=…, …)
    attention.run(q=q, k=k, v=v, out=out)

`dir(strobe.ops)` lists the operators, `help(strobe.ops.rmsnorm)` shows formula, shapes and dtypes, and
`strobe.ops.declaration("rmsnorm")` gives them as data.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable

from ._native import Plan, bind, declaration, operators

__all__ = ["declaration"]


def _arguments(operator: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    return [a for kind in ("operands", "attributes") for a in operator[kind] if a["phase"] == phase]


def _line(argument: dict[str, Any]) -> str:
    if "dtypes" not in argument:
        return f"    {argument['name']}: {argument['doc']} (default {argument['default']})"
    shape = argument["axes"] + (f"; HND: {argument['axes_hnd']}" if "axes_hnd" in argument else "")
    dtype = f"dtype of {argument['same_dtype_as']}" if "same_dtype_as" in argument else ", ".join(argument["dtypes"])
    optional = "; may be left away" if argument["optional"] else ""
    return f"    {argument['name']} ({argument['role']}): [{shape}], {dtype}{optional}: {argument['doc']}"


def _doc(operator: dict[str, Any], phase: str) -> str:
    parts = [operator["summary"], operator["formula"]]
    parts.append("Arguments, by keyword:\n" + "\n".join(map(_line, _arguments(operator, phase))))
    if operator["rules"]:
        parts.append("Rules:\n" + "\n".join(f"    {rule}" for rule in operator["rules"]))
    return "\n\n".join(parts)


def _by_keyword(operator: dict[str, Any], phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
    names = [argument["name"] for argument in _arguments(operator, phase)]
    signature = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in names]
    )

    def function(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        return call(*[given.get(name) for name in names])

    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__doc__ = _doc(operator, phase)
    return function


def _make_function(operator: dict[str, Any]) -> Callable[..., Any]:
    names = [argument["name"] for argument in _arguments(operator, "run")]
    function = _by_keyword(operator, "run", bind(operator["name"], names))
    function.__name__ = function.__qualname__ = operator["name"]
    return function


def _make_class(operator: dict[str, Any]) -> type:
    phases = {phase: [a["name"] for a in _arguments(operator, phase)] for phase in ("plan", "run")}

    class Planned:
        def __init__(self, backend: str = "auto") -> None:
            made = Plan(operator["name"], backend)
            plan, run = (made.function(phase, phases[phase]) for phase in ("plan", "run"))
            self.plan = _by_keyword(operator, "plan", plan)
            self.run = _by_keyword(operator, "run", run)

    Planned.__name__ = Planned.__qualname__ = operator["name"]
    Planned.__doc__ = "\n\n".join([_doc(operator, "plan"), _doc(operator, "run")])
    return Planned


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in operators():
        raise AttributeError(f"strobe.ops has no operator '{name}'")
    operator = declaration(name)
    made = _make_class(operator) if operator["planned"] else _make_function(operator)
    globals()[name] = made
    return made


def __dir__() -> list[str]:
    return [*__all__, *operators()]
