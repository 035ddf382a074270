"""`flashinfer_bench.env`: FlashInfer-Bench's variables, and Strobe's names for the same."""

from __future__ import annotations

import os
from pathlib import Path


def _switch(name: str) -> bool:
    return os.environ.get(f"STROBE_{name}", os.environ.get(f"FIB_{name}")) == "1"


def get_fib_enable_apply() -> bool:
    return _switch("ENABLE_APPLY")


def get_fib_enable_tracing() -> bool:
    return _switch("ENABLE_TRACING")


def get_fib_dataset_path() -> Path:
    given = os.environ.get("STROBE_DATASET_PATH") or os.environ.get("FIB_DATASET_PATH")
    return Path(given) if given else Path.home() / ".cache" / "flashinfer_bench" / "dataset"


def get_fib_cache_path() -> Path:
    given = os.environ.get("FIB_CACHE_PATH")
    return Path(given) if given else Path.home() / ".cache" / "flashinfer_bench" / "cache"
