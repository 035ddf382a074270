"""What serving engines take from FlashInfer beside its operators: private helpers, settings, the autotuner."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

from .. import cascade
from .._dtypes import full_name
from .._errors import unsupported
from ..page import get_seq_lens
from ..variants import SINKS

Tensor = Any


def _get_range_buf(seq_len: int, device: Any) -> Tensor:
    """0 to seq_len - 1 as int32: the index array of decode batches whose requests have one row each."""
    import torch

    return torch.arange(seq_len, device=device, dtype=torch.int32)


@contextmanager
def autotune(*args: Any, **kwargs: Any) -> Iterator[None]:
    """Runs its body. Strobe chooses kernels by rules, and has nothing to try out at run time."""
    yield


def jit_env() -> ModuleType:
    """`flashinfer.jit.env`: the folders of the cache."""
    module = ModuleType("flashinfer.jit.env", "The folders of Strobe's cache under FlashInfer's names.")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("STROBE_CACHE_DIR") or Path(base) / "strobe")
    for name in ("WORKSPACE_DIR", "JIT_DIR", "GEN_SRC_DIR", "CUBIN_DIR"):
        setattr(module, f"FLASHINFER_{name}", cache)
    return module


def jit_utils() -> ModuleType:
    """`flashinfer.jit.utils`: the names of torch's dtypes in file names, made when they are asked for."""
    module = ModuleType("flashinfer.jit.utils", "Names of dtypes.")

    def __getattr__(name: str) -> Any:
        if name != "filename_safe_dtype_map":
            raise AttributeError(f"module 'flashinfer.jit.utils' has no attribute '{name}'")
        import torch

        return {getattr(torch, full_name(dtype)): dtype for dtype in ("f32", "f16", "bf16", "e4m3", "e5m2", "i8", "u8")}

    module.__getattr__ = __getattr__  # type: ignore[method-assign]
    return module


def jit_variants() -> ModuleType:
    """`flashinfer.jit.attention.variants`: the text that asks for attention with sinks."""
    module = ModuleType("flashinfer.jit.attention.variants", "Texts of attention variants.")
    module.attention_sink_decl = {"fa2": SINKS, "fa3": SINKS}  # type: ignore[attr-defined]
    return module


def triton() -> dict[str, ModuleType]:
    """`flashinfer.triton`, whose merges are those of strobe.cascade."""
    top = ModuleType("flashinfer.triton", "Merges of attention states.")
    merges = ModuleType("flashinfer.triton.cascade", "Merges of attention states.")
    for name in ("merge_state", "merge_state_in_place", "merge_states"):
        setattr(merges, name, getattr(cascade, name))
    name = "variable_length_merge_states"
    setattr(merges, name, unsupported(f"flashinfer.triton.cascade.{name}"))
    top.__path__ = []
    return {"triton": top, "triton.cascade": merges}


# Submodule -> what it has beside its public names.
EXTRAS: dict[str, dict[str, Any]] = {
    "autotuner": {"autotune": autotune},
    "decode": {"_get_range_buf": _get_range_buf, "get_seq_lens": get_seq_lens},
}
