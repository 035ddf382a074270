"""Configurations of apply under FlashInfer-Bench's names."""

from __future__ import annotations

from dataclasses import dataclass

from ....apply import ApplyConfig as StrobeConfig
from .._registry import ConfigRegistry


@dataclass(frozen=True)
class ApplyConfig:
    """Which traces count. `max_rtol` is FlashInfer-Bench's default, which few traces of 16-bit dtypes are within; how
    many are not is logged. All solutions that win are built ahead, whatever `aot_ratio` says."""

    max_atol: float = 1e-2
    max_rtol: float = 1e-5
    aot_ratio: float = 1.0
    on_miss_policy: str = "fallback_only"

    def __post_init__(self) -> None:
        for name in ("max_atol", "max_rtol"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        if not 0 <= self.aot_ratio <= 1:
            raise ValueError(f"aot_ratio: expected a number from 0 to 1, got {self.aot_ratio}")
        self._strobe()

    def _strobe(self) -> StrobeConfig:
        return StrobeConfig(self.on_miss_policy, max_absolute_error=self.max_atol, max_relative_error=self.max_rtol)


class ApplyConfigRegistry(ConfigRegistry[ApplyConfig]):
    """Configurations by definition."""


def get_default_registry() -> ApplyConfigRegistry:
    return ApplyConfigRegistry(default=ApplyConfig())
