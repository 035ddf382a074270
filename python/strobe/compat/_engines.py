"""What serving engines take from FlashInfer beside its operators: private helpers, settings, the autotuner."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

from ..page import get_seq_lens

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


# Submodule -> what it has beside its public names.
EXTRAS: dict[str, dict[str, Any]] = {
    "autotuner": {"autotune": autotune},
    "decode": {"_get_range_buf": _get_range_buf, "get_seq_lens": get_seq_lens},
}
