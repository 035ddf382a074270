"""The ways to name a paged KV cache and its layout."""

from __future__ import annotations

from typing import Any

Tensor = Any


def check_layout(kv_layout: str) -> str:
    """The layout itself; raises ValueError when it is neither NHD nor HND."""
    if kv_layout not in ("NHD", "HND"):
        raise ValueError(f"kv_layout: expected NHD or HND, got {kv_layout!r}")
    return kv_layout


def both_of_cache(paged_kv_cache: Any, kv_layout: str = "NHD") -> tuple[Tensor, Tensor]:
    """K and V of a cache given as a pair; twice the same tensor [num_pages, 2, …] when it is one. Of a pair whose pages
    have one token, the page's axis may be left away: [num_pages, num_kv_heads, head_dim]."""
    if isinstance(paged_kv_cache, (tuple, list)):
        if len(paged_kv_cache) != 2:
            raise ValueError(f"paged_kv_cache: expected a pair of k and v, got {len(paged_kv_cache)} tensors")
        k, v = paged_kv_cache
        if len(k.shape) == 3 and len(v.shape) == 3:
            return (k[:, None], v[:, None]) if kv_layout == "NHD" else (k[:, :, None], v[:, :, None])
        return k, v
    shape = getattr(paged_kv_cache, "shape", None)
    if shape is None:
        raise TypeError(f"paged_kv_cache: expected a tensor or a pair, got {type(paged_kv_cache).__name__}")
    if len(shape) != 5 or shape[1] != 2:
        raise ValueError(
            "paged_kv_cache: expected shape [num_pages, 2, page_size, num_kv_heads, head_dim] (HND: num_kv_heads "
            f"before page_size) or a pair of k and v, got {list(shape)}"
        )
    return paged_kv_cache, paged_kv_cache
