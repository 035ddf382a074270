"""apply(): calls that run the fastest solution a data set has for their sizes and hardware.

    from strobe.apply import apply, enable_apply

    @apply("rmsnorm_h4096")                      # arguments are the definition's inputs
    def rmsnorm(hidden_states, weight):
        return ...                               # where there is no solution

    with enable_apply("my/data_set") as runtime:
        y = rmsnorm(x, w)
        print(runtime.explain())

While it is enabled, Strobe's functions with the names of FlashInfer's, and FlashInfer's own, are routed as well
(_adapters.py). STROBE_ENABLE_APPLY=1 (or FIB_ENABLE_APPLY=1) with STROBE_DATASET_PATH does it from `import strobe` on.
"""

from __future__ import annotations

import atexit
import os
from functools import wraps
from typing import Any, Callable, Optional, Sequence, Union

from ._runtime import MISS, ApplyConfig, ApplyRuntime

__all__ = ["ApplyConfig", "ApplyRuntime", "active", "apply", "disable_apply", "enable_apply"]

Resolver = Callable[..., str]

_stack: list[ApplyRuntime] = []
_active: Optional[ApplyRuntime] = None
_recorder: Any = None  # of strobe.tracing


def active() -> Optional[ApplyRuntime]:
    """What calls are routed by now."""
    return _active


def apply(
    definition: Union[str, Resolver],
    args: Optional[Sequence[Any]] = None,
    kwargs: Optional[dict[str, Any]] = None,
    fallback: Optional[Callable[..., Any]] = None,
) -> Any:
    """Runs the solution for these arguments, or `fallback` with them as they are.

    Args:
        definition: its name, or a function that gives it for the arguments.
        args, kwargs: the definition's inputs, and maybe its outputs after them, which are then written and nothing is
            returned. Without both, a decorator for the fallback.

    Raises:
        RuntimeError: there is neither a solution nor a fallback. What a solution raises goes on to the caller.

    >>> @apply("no_such_definition")
    ... def double(x):
    ...     return 2 * x
    >>> double(21)
    42
    """
    if args is None and kwargs is None:
        return _decorator(definition)
    args, kwargs = () if args is None else args, kwargs or {}
    if _active is None and _recorder is None:
        return _fall_back(definition, args, kwargs, fallback)
    name = definition if type(definition) is str else definition(*args, **kwargs)  # type: ignore[operator]
    if _active is not None:
        result = _active.route(name).call(args, kwargs)
        if result is not MISS:
            return result
    if _recorder is not None:
        _recorder.record(name, args, kwargs)
    return _fall_back(name, args, kwargs, fallback)


def _fall_back(
    definition: Any, args: Sequence[Any], kwargs: dict[str, Any], fallback: Optional[Callable[..., Any]]
) -> Any:
    if fallback is None:
        why = "apply is not enabled" if _active is None else "no solution for these arguments; its explain() says why"
        raise RuntimeError(f"apply: {definition}: expected a solution or a fallback, got neither: {why}")
    return fallback(*args, **kwargs)


def _decorator(definition: Union[str, Resolver]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def applied(*args: Any, **kwargs: Any) -> Any:
            return apply(definition, args, kwargs, function)

        return applied

    return decorate


def enable_apply(
    data_set: Optional[str] = None, config: Optional[ApplyConfig] = None, *, adapters: bool = True
) -> ApplyRuntime:
    """Routes calls from now on, until `disable_apply` or the end of a `with` block. Enabling again stacks up.

    Args:
        data_set: the folder; STROBE_DATASET_PATH (FIB_DATASET_PATH) when it is left away.
        config: without one, STROBE_APPLY_ON_MISS has a say.
        adapters: whether Strobe's and FlashInfer's functions are routed, too.

    Builds and imports all solutions that win on this machine before it returns, so that calls may be captured in CUDA
    graphs.
    """
    folder = data_set or os.environ.get("STROBE_DATASET_PATH") or os.environ.get("FIB_DATASET_PATH")
    if not folder:
        raise ValueError("enable_apply: expected a data set, as an argument or in STROBE_DATASET_PATH, got none")
    runtime = ApplyRuntime(
        folder, config or ApplyConfig(on_miss=os.environ.get("STROBE_APPLY_ON_MISS") or "fallback_only")
    )
    if adapters:
        from ._adapters import install

        runtime._on_exit.append(install())
    _stack.append(runtime)
    _set_active()
    return runtime


def disable_apply() -> None:
    """Ends what was enabled last; without such nothing happens."""
    if _stack:
        _leave(_stack[-1])


def _leave(runtime: ApplyRuntime) -> None:
    if runtime in _stack:
        _stack.remove(runtime)
    _set_active()
    runtime.close()


def _set_active() -> None:
    global _active
    _active = _stack[-1] if _stack else None


@atexit.register
def _leave_all() -> None:
    while _stack:
        disable_apply()
