"""apply under FlashInfer-Bench's names: one table for each configuration."""

from __future__ import annotations

import logging
import tempfile
from typing import Any, Callable, Optional, Sequence, Union

from .... import apply as _apply
from ....apply._runtime import MISS, merge
from ....apply._runtime import ApplyRuntime as StrobeRuntime
from ..data import TraceSet
from ..env import get_fib_dataset_path, get_fib_enable_apply
from .config import ApplyConfig, ApplyConfigRegistry, get_default_registry

log = logging.getLogger("strobe.apply")


class _Nothing:
    """The calls of a definition that has no configuration."""

    def call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return MISS


class ApplyRuntime:
    """Started by `enable_apply`, or by `start`; a context manager."""

    _env_initialized = False

    def __init__(
        self, trace_set: Union[TraceSet, str, Any], apply_config: Union[ApplyConfig, ApplyConfigRegistry, None] = None
    ) -> None:
        self._folder: Any = None  # of a TraceSet in memory
        if isinstance(trace_set, TraceSet) and trace_set.root is None:
            self._folder = tempfile.TemporaryDirectory(prefix="strobe-apply-")
            trace_set = trace_set.write_to(self._folder.name)
        self.data_set = str(trace_set.root if isinstance(trace_set, TraceSet) else trace_set)
        if isinstance(apply_config, ApplyConfig):
            apply_config = ApplyConfigRegistry(default=apply_config)
        self._configs = apply_config or get_default_registry()
        self._runtimes: dict[ApplyConfig, StrobeRuntime] = {}
        for config in {self._configs.default, *self._configs.per_definition.values()} - {None}:
            assert config is not None
            runtime = self._runtimes[config] = StrobeRuntime(self.data_set, config._strobe())
            for reason, count in runtime.statistics()["left_out"].items():
                log.warning("%s: %d traces are left out: %s", self.data_set, count, reason)
        self.definitions = next(iter(self._runtimes.values())).definitions if self._runtimes else {}
        self._on_exit: list[Callable[[], None]] = []

    def route(self, name: str) -> Any:
        config = self._configs.get(name)
        return _Nothing() if config is None else self._runtimes[config].route(name)

    def refuse(self, name: str, reason: str) -> None:
        for runtime in list(self._runtimes.values())[:1]:
            runtime.refuse(name, reason)

    def dispatch(
        self, def_name: str, args: Sequence[Any], kwargs: dict[str, Any], fallback: Optional[Callable[..., Any]]
    ) -> Any:
        """As apply does it. Raises ValueError for a number of arguments that is none of the definition's."""
        definition = self.definitions.get(def_name)
        if definition is not None:
            inputs, given = len(definition["inputs"]), len(merge(definition, args, kwargs))
            if given not in (inputs, inputs + len(definition["outputs"])):
                raise ValueError(f"{def_name}: expected {inputs} inputs, or outputs after them, got {given} arguments")
        result = self.route(def_name).call(args, kwargs)
        return _apply._fall_back(def_name, args, kwargs, fallback) if result is MISS else result

    def explain(self) -> str:
        return "".join(runtime.explain() for runtime in self._runtimes.values())

    def start(self) -> None:
        """Routes calls from now on."""
        if self in list[Any](_apply._stack):
            return
        from ....apply._adapters import install

        self._on_exit.append(install())
        _apply._stack.append(self)  # type: ignore[arg-type]
        _apply._set_active()

    def stop(self) -> None:
        _apply._leave(self)  # type: ignore[arg-type]

    def close(self) -> None:
        """Called by the stack when this is taken off it; the tables stay, for another `start`."""
        while self._on_exit:
            self._on_exit.pop()()

    @staticmethod
    def get_instance() -> Any:
        """What is active now; FIB_ENABLE_APPLY=1 starts one, once."""
        if not ApplyRuntime._env_initialized:
            ApplyRuntime._env_initialized = True
            if _apply._active is None and get_fib_enable_apply():
                enable_apply()
        return _apply._active

    def __enter__(self) -> ApplyRuntime:
        self.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()


def apply(
    def_name_or_resolver: Union[str, Callable[..., str]],
    args: Optional[Sequence[Any]] = None,
    kwargs: Optional[dict[str, Any]] = None,
    fallback: Optional[Callable[..., Any]] = None,
) -> Any:
    """strobe.apply.apply."""
    ApplyRuntime.get_instance()
    return _apply.apply(def_name_or_resolver, args, kwargs, fallback)


def enable_apply(
    dataset_path: Optional[str] = None, apply_config: Union[ApplyConfig, ApplyConfigRegistry, None] = None
) -> ApplyRuntime:
    runtime = ApplyRuntime(dataset_path or get_fib_dataset_path(), apply_config)
    runtime.start()
    return runtime


def disable_apply() -> None:
    _apply.disable_apply()
