"""`flashinfer_bench.apply` on strobe.apply."""

from .config import ApplyConfig, ApplyConfigRegistry, get_default_registry
from .runtime import ApplyRuntime, apply, disable_apply, enable_apply

__all__ = [
    "ApplyConfig", "ApplyConfigRegistry", "ApplyRuntime", "apply", "disable_apply", "enable_apply",
    "get_default_registry",
]  # fmt: skip
