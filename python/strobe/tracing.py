"""Calls of a running program as workloads of a data set, to be benchmarked later.

    with enable_tracing("my/data_set"):
        serve()                          # calls of apply(), and of Strobe's and FlashInfer's functions

A workload has the sizes of a call, its scalars, and the values of some tensors (whole numbers, unless `values` says
otherwise; the others become random). It is on the disk before the call goes on; nothing is kept in memory. Calls of
definitions that the data set does not have are passed over, and so are those that a CUDA graph captures. With apply
enabled as well, calls without a solution are recorded. STROBE_ENABLE_TRACING=1 (or FIB_ENABLE_TRACING=1) with
STROBE_DATASET_PATH does it from `import strobe` on.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence, Union

from . import apply as _apply
from ._native import module
from .apply._runtime import merge, prepare, read_definitions

__all__ = ["TracingConfig", "TracingRuntime", "disable_tracing", "enable_tracing"]

KEEP = ("all", "none", "first", "first_by_axes", "first_by_average_length")


@dataclass(frozen=True)
class TracingConfig:
    """Which calls are kept, and of what.

    keep: "all"; "none"; "first", `count` of a definition; "first_by_axes", `count` of equal sizes;
        "first_by_average_length", `count` of as many requests of the same average lengths (total_q, total_kv and
        num_kv_indices over the requests), whatever the cache's size. Workloads that the data set has already count.
    values: "integers", "all", "none", or the names of inputs: of which tensors the values are kept.
    """

    keep: str = "first_by_axes"
    count: int = 1
    values: Union[str, Sequence[str]] = "integers"

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise ValueError(f"keep: expected one of {', '.join(KEEP)}, got {self.keep!r}")
        if isinstance(self.values, str) and self.values not in ("integers", "all", "none"):
            raise ValueError(f"values: expected integers, all, none or a list of names, got {self.values!r}")

    def _rule(self) -> dict[str, Any]:
        if isinstance(self.values, str):
            return {"keep": self.keep, "count": self.count, "values": self.values}
        return {"keep": self.keep, "count": self.count, "values": "named", "names": list(self.values)}


class TracingRuntime:
    """A data set to which calls are added. A context manager."""

    def __init__(
        self,
        data_set: Union[str, Any],
        config: TracingConfig = TracingConfig(),
        by_definition: Optional[dict[str, TracingConfig]] = None,
        max_workloads: int = 10_000,
        max_bytes: int = 1 << 30,
    ) -> None:
        self.data_set = str(data_set)
        options = {
            "data_set": self.data_set,
            "rule": config._rule(),
            "by_definition": {name: rule._rule() for name, rule in (by_definition or {}).items()},
            "max_workloads": max_workloads,
            "max_bytes": max_bytes,
        }
        self._handle = module()["strobe_recorder_open"](json.dumps(options))
        self.definitions = read_definitions(self.data_set)
        self._functions: dict[str, Any] = {}
        self._on_exit: list[Callable[[], None]] = []

    def record(self, name: str, args: Sequence[Any], kwargs: Optional[dict[str, Any]] = None) -> bool:
        """Whether the call of a definition was recorded; `statistics` says why it was not."""
        definition = self.definitions.get(name)
        values = list(args) if definition is None or not kwargs else merge(definition, args, kwargs)
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = module()["strobe_recorder_function"](self._handle, name)
        return bool(function(*prepare(values, len(values), name)))

    def statistics(self) -> dict[str, Any]:
        """What was recorded, and what was passed over and why, by definition."""
        return json.loads(module()["strobe_recorder_statistics"](self._handle))  # type: ignore[no-any-return]

    def __enter__(self) -> TracingRuntime:
        return self

    def __exit__(self, *exception: Any) -> None:
        _leave(self)

    def _close(self) -> None:
        if self._handle is None:
            return
        for action in self._on_exit:
            action()
        self._functions.clear()
        module()["strobe_recorder_close"](self._handle)
        self._handle = None


def enable_tracing(
    data_set: Optional[str] = None,
    config: Optional[TracingConfig] = None,
    by_definition: Optional[dict[str, TracingConfig]] = None,
    *,
    max_workloads: int = 10_000,
    max_bytes: int = 1 << 30,
    adapters: bool = True,
) -> TracingRuntime:
    """Records calls from now on, until `disable_tracing` or the end of a `with` block; ends what was enabled before.

    Args:
        data_set: the folder; STROBE_DATASET_PATH (FIB_DATASET_PATH) when it is left away.
        by_definition: configurations of single definitions.
        max_workloads, max_bytes: what the data set's workloads and their files may grow to.
        adapters: whether Strobe's and FlashInfer's functions are recorded, too.
    """
    folder = data_set or os.environ.get("STROBE_DATASET_PATH") or os.environ.get("FIB_DATASET_PATH")
    if not folder:
        raise ValueError("enable_tracing: expected a data set, as an argument or in STROBE_DATASET_PATH, got none")
    runtime = TracingRuntime(folder, config or TracingConfig(), by_definition, max_workloads, max_bytes)
    disable_tracing()
    if adapters:
        from .apply._adapters import install

        runtime._on_exit.append(install())
    _apply._recorder = runtime
    return runtime


def disable_tracing() -> None:
    """Ends the recording; without one nothing happens."""
    if _apply._recorder is not None:
        _leave(_apply._recorder)


def _leave(runtime: TracingRuntime) -> None:
    if _apply._recorder is runtime:
        _apply._recorder = None
    runtime._close()
