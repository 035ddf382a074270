"""Scales of quantised queries, keys and values."""

from __future__ import annotations

from typing import Any, Optional


def scale(value: Any) -> Optional[float]:
    """A scale given as a number or a tensor of one, which is read to the host."""
    if value is None or type(value) is float:
        return value
    return float(value.item() if hasattr(value, "item") else value)


def product(*scales: Any) -> Optional[float]:
    """Scales as one; None when there is none."""
    result = None
    for value in map(scale, scales):
        if value is not None:
            result = value if result is None else result * value
    return result
