"""`flashinfer_bench.tracing` on strobe.tracing: its configurations in terms of Strobe's rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Union

from .... import tracing as _tracing
from ....apply._runtime import read_definitions
from ....tracing import TracingRuntime
from .._registry import ConfigRegistry
from ..env import get_fib_dataset_path

__all__ = [
    "TracingConfig", "TracingConfigRegistry", "TracingRuntime", "disable_tracing", "enable_tracing",
    "get_attention_only_configs", "get_default_configs", "get_full_configs",
]  # fmt: skip

_VALUES = {"dump_all": "all", "dump_none": "none", "dump_int": "integers"}
_KEEP = {
    "keep_all": "all", "keep_none": "none", "keep_first": "first", "keep_first_k": "first",
    "keep_first_k_by_axes": "first_by_axes", "attention": "first_by_average_length",
}  # fmt: skip


@dataclass(frozen=True)
class TracingConfig:
    """Policies by FlashInfer-Bench's names. Scalars are recorded whether they are named or not."""

    input_dump_policy: Union[str, list[str]] = "dump_none"
    input_dump_policy_kwargs: dict[str, Any] = field(default_factory=dict)
    filter_policy: str = "keep_all"
    filter_policy_kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.input_dump_policy, str) and self.input_dump_policy not in _VALUES:
            raise ValueError(f"input_dump_policy: expected one of {', '.join(_VALUES)}, got {self.input_dump_policy!r}")
        if self.filter_policy not in _KEEP:
            raise ValueError(f"filter_policy: expected one of {', '.join(_KEEP)}, got {self.filter_policy!r}")

    def _strobe(self) -> _tracing.TracingConfig:
        values = self.input_dump_policy
        return _tracing.TracingConfig(
            keep=_KEEP[self.filter_policy],
            count=int(self.filter_policy_kwargs.get("k", 1)),
            values=_VALUES[values] if isinstance(values, str) else list(values),
        )


class TracingConfigRegistry(ConfigRegistry[TracingConfig]):
    """Configurations by definition."""


_BY_AXES = TracingConfig("dump_int", filter_policy="keep_first_k_by_axes")
_BY_LENGTH = TracingConfig("dump_int", filter_policy="attention")


@dataclass
class _ByOperator(TracingConfigRegistry):
    """Attention by average lengths; others as the default says."""

    def get(self, def_name: str) -> Optional[TracingConfig]:
        if def_name in self.per_definition:
            return self.per_definition[def_name]
        return _BY_LENGTH if def_name.startswith(("gqa_", "mla_")) else self.default


def get_full_configs() -> TracingConfigRegistry:
    """Attention once for each number of requests and average lengths, all else once for each size."""
    return _ByOperator(default=_BY_AXES)


def get_attention_only_configs() -> TracingConfigRegistry:
    """Attention alone."""
    return _ByOperator()


def get_default_configs() -> TracingConfigRegistry:
    return get_full_configs()


def enable_tracing(
    dataset_path: Optional[str] = None, tracing_config: Union[TracingConfig, TracingConfigRegistry, None] = None
) -> TracingRuntime:
    folder = str(dataset_path or get_fib_dataset_path())
    if isinstance(tracing_config, TracingConfig):
        return _tracing.enable_tracing(folder, tracing_config._strobe())
    configs = tracing_config or get_default_configs()
    rules = {name: config._strobe() for name in read_definitions(folder) if (config := configs.get(name)) is not None}
    return _tracing.enable_tracing(folder, _tracing.TracingConfig(keep="none"), rules)


def disable_tracing() -> None:
    _tracing.disable_tracing()
