"""Paged KV caches: appending tokens, and the index arrays that go with it.

Request r owns the pages kv_indices[kv_indptr[r]], …, kv_indices[kv_indptr[r + 1] - 1], all full but the last, which
holds kv_last_page_len[r] tokens. Index arrays are int32; on the CPU their values are checked before anything is
written, on a GPU a token whose place is not in its request's pages is not written.
"""

from __future__ import annotations

from typing import Any, Optional

from ._errors import unsupported
from ._frameworks import framework_of
from ._kv import both_of_cache, check_layout
from ._native import Calls

Tensor = Any

_APPEND = (
    "append_key, append_value, batch_indices, positions, {}, {}, kv_indices, kv_indptr, kv_last_page_len, kv_layout"
)
_calls = Calls(
    append=f"append_paged_kv_cache({_APPEND.format('k_cache', 'v_cache')})",
    append_to_one_cache=f"append_paged_kv_cache({_APPEND.format('k_cache[1=0]', 'v_cache[1=1]')})",
    append_mla="append_paged_mla_kv_cache(append_ckv, append_kpe, batch_indices, positions, ckv_cache, kpe_cache, "
    "kv_indices, kv_indptr, kv_last_page_len)",
    positions="get_batch_indices_positions(append_indptr, seq_lens, batch_indices, positions)",
    seq_lens="get_seq_lens(kv_indptr, kv_last_page_len, seq_lens, page_size)",
)


def append_paged_kv_cache(
    append_key: Tensor,
    append_value: Tensor,
    batch_indices: Tensor,
    positions: Tensor,
    paged_kv_cache: Any,
    kv_indices: Tensor,
    kv_indptr: Tensor,
    kv_last_page_len: Tensor,
    kv_layout: str = "NHD",
) -> None:
    """Writes token t of `append_key` and `append_value` to position positions[t] of request batch_indices[t].

    Args:
        append_key, append_value: [nnz, num_kv_heads, head_dim], f32, f16, bf16, e4m3 or e5m2.
        batch_indices, positions: int32 [nnz], from `get_batch_indices_positions`; -1 marks padding, which is skipped.
        paged_kv_cache: [num_pages, 2, page_size, num_kv_heads, head_dim] (HND: heads before tokens), or the pair of
            k and v without the 2; the tokens' dtype, or e4m3 or e5m2 to quantise them.
        kv_indices, kv_indptr, kv_last_page_len: the requests' pages after the append.

    >>> import numpy as np
    >>> cache = np.zeros((2, 2, 4, 1, 8), np.float16)
    >>> token = np.ones((1, 1, 8), np.float16)
    >>> i32 = np.int32
    >>> append_paged_kv_cache(token, token, i32([0]), i32([5]), cache, i32([1, 0]), i32([0, 2]), i32([2]))
    >>> np.argwhere(cache[..., 0, 0]).tolist()
    [[0, 0, 1], [0, 1, 1]]
    """
    k_cache, v_cache = both_of_cache(paged_kv_cache)
    (_calls.append_to_one_cache if k_cache is v_cache else _calls.append)(
        append_key, append_value, batch_indices, positions, k_cache, v_cache, kv_indices, kv_indptr, kv_last_page_len,
        check_layout(kv_layout),
    )  # fmt: skip


def append_paged_mla_kv_cache(
    append_ckv: Tensor,
    append_kpe: Tensor,
    batch_indices: Tensor,
    positions: Tensor,
    ckv_cache: Tensor,
    kpe_cache: Tensor,
    kv_indices: Tensor,
    kv_indptr: Tensor,
    kv_last_page_len: Tensor,
) -> None:
    """The same for the two caches of multi-head latent attention (DeepSeek-V2, 2024).

    `append_ckv` is [nnz, ckv_dim], `ckv_cache` [num_pages, page_size, ckv_dim]; kpe likewise.
    """
    _calls.append_mla(
        append_ckv, append_kpe, batch_indices, positions, ckv_cache, kpe_cache, kv_indices, kv_indptr, kv_last_page_len
    )


def get_batch_indices_positions(
    append_indptr: Tensor,
    seq_lens: Tensor,
    nnz: int,
    batch_indices: Optional[Tensor] = None,
    positions: Optional[Tensor] = None,
) -> tuple[Tensor, Tensor]:
    """Request and position of each appended token.

    Request r appends the tokens [append_indptr[r], append_indptr[r + 1]), the last ones of its seq_lens[r]. Tokens
    from append_indptr[-1] to `nnz` are padding: -1 in both.

    >>> import numpy as np
    >>> batch, positions = get_batch_indices_positions(np.int32([0, 1, 3]), np.int32([5, 2]), 4)
    >>> batch.tolist(), positions.tolist()
    ([0, 1, 1, -1], [4, 0, 1, -1])
    """
    framework = framework_of(append_indptr, "get_batch_indices_positions: append_indptr")
    if batch_indices is None:
        batch_indices = framework.empty((nnz,), append_indptr, "i32")
    if positions is None:
        positions = framework.empty((nnz,), append_indptr, "i32")
    _calls.positions(append_indptr, seq_lens, batch_indices, positions)
    return framework.result(batch_indices), framework.result(positions)


def get_seq_lens(
    kv_indptr: Tensor, kv_last_page_len: Tensor, page_size: int, *, out: Optional[Tensor] = None
) -> Tensor:
    """Tokens of each request: max(pages - 1, 0) * page_size + kv_last_page_len[r].

    >>> import numpy as np
    >>> get_seq_lens(np.int32([0, 2, 3]), np.int32([7, 16]), 16).tolist()
    [23, 16]
    """
    framework = framework_of(kv_indptr, "get_seq_lens: kv_indptr")
    seq_lens = framework.empty((kv_last_page_len.shape[0],), kv_indptr, "i32") if out is None else out
    _calls.seq_lens(kv_indptr, kv_last_page_len, seq_lens, page_size)
    return framework.result(seq_lens)


nvfp4_quantize_append_paged_kv_cache = unsupported("strobe.page.nvfp4_quantize_append_paged_kv_cache")
nvfp4_quantize_append_paged_kv_cache_with_slot_mapping = unsupported(
    "strobe.page.nvfp4_quantize_append_paged_kv_cache_with_slot_mapping"
)
