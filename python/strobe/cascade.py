"""Merging attention states, and attention of requests that share prefixes.

A state is the output v of attention over part of the keys with its base-2 log-sum-exp s (f32). The merge of states is
the state over all their keys:

    m = max_i s_i,  w_i = 2^(s_i - m):   v = sum_i w_i v_i / sum_i w_i,   s = m + log2(sum_i w_i)
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Optional, Sequence

from ._attention import refuse
from ._frameworks import framework_of
from ._kv import both_of_cache
from ._native import Calls
from .decode import BatchDecodeWithPagedKVCacheWrapper
from .prefill import BatchPrefillWithPagedKVCacheWrapper, single_prefill_with_kv_cache_return_lse

Tensor = Any

_calls = Calls(
    merge_state="merge_state(v_a, s_a, v_b, s_b, v, s)",
    merge_state_in_place="merge_state_in_place(v, s, v_other, s_other, mask)",
    merge_states="merge_states(v, s, v_merged, s_merged)",
)


def merge_state(
    v_a: Tensor,
    s_a: Tensor,
    v_b: Tensor,
    s_b: Tensor,
    *,
    out: Optional[Tensor] = None,
    lse: Optional[Tensor] = None,
) -> tuple[Tensor, Tensor]:
    """The merge of two states.

    Args:
        v_a, v_b: [num_tokens, num_heads, head_dim], f32, f16 or bf16.
        s_a, s_b: [num_tokens, num_heads], f32, base 2. A state of -inf is empty.
        out, lse: receive v and s; made when they are left away.

    Returns:
        v and s of both.

    >>> import numpy as np
    >>> one, zero = np.ones((1, 1, 2), np.float32), np.zeros((1, 1), np.float32)
    >>> v, s = merge_state(one, zero, 3 * one, zero)
    >>> v.tolist(), s.tolist()
    ([[[2.0, 2.0]]], [[1.0]])
    """
    framework = framework_of(v_a, "merge_state: v_a")
    v = framework.empty(v_a.shape, v_a) if out is None else out
    s = framework.empty(v_a.shape[:2], v_a, "f32") if lse is None else lse
    _calls.merge_state(v_a, s_a, v_b, s_b, v, s)
    return framework.result(v), framework.result(s)


def merge_state_in_place(
    v: Tensor, s: Tensor, v_other: Tensor, s_other: Tensor, mask: Optional[Tensor] = None
) -> None:
    """Merges another state into `v` and `s`; only for tokens where `mask`, bool [num_tokens], is true."""
    _calls.merge_state_in_place(v, s, v_other, s_other, mask)


def merge_states(
    v: Tensor, s: Tensor, *, out: Optional[Tensor] = None, lse: Optional[Tensor] = None
) -> tuple[Tensor, Tensor]:
    """The merge of num_states states: `v` [num_tokens, num_states, num_heads, head_dim], `s` without head_dim.

    >>> import numpy as np
    >>> v = np.float32([1, 3]).reshape(1, 2, 1, 1)
    >>> merged, s = merge_states(v, np.float32([[[0], [-np.inf]]]))
    >>> merged.tolist(), s.tolist()
    ([[[1.0]]], [[0.0]])
    """
    framework = framework_of(v, "merge_states: v")
    tokens, _, heads, head_dim = v.shape
    v_merged = framework.empty((tokens, heads, head_dim), v) if out is None else out
    s_merged = framework.empty((tokens, heads), v, "f32") if lse is None else lse
    _calls.merge_states(v, s, v_merged, s_merged)
    return framework.result(v_merged), framework.result(s_merged)


class MultiLevelCascadeAttentionWrapper:
    """Attention of requests that share prefixes, over one paged KV cache (Ye et al., Cascade Inference, 2024).

    At every level the entries partition the same query rows: at level 0 one entry may hold the rows of all requests
    with one common prefix; at the last level each entry is a request with the KV that it shares with nobody. Each
    level is attended to by itself, and the states are merged. A causal mask holds at the last level.

    >>> import numpy as np
    >>> i32 = np.int32
    >>> wrapper = MultiLevelCascadeAttentionWrapper(2, np.empty(1, np.uint8))
    >>> wrapper.plan(
    ...     [i32([0, 2]), i32([0, 1, 2])], [i32([0, 2]), i32([0, 1, 2])], [i32([0, 1]), i32([2, 3])],
    ...     [i32([4]), i32([1, 2])], 2, 1, 64, page_size=4, q_data_type="float32",
    ... )
    >>> cache = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1, 1) * np.ones((4, 2, 4, 1, 64), np.float32)
    >>> print(wrapper.run(np.zeros((2, 2, 64), np.float32), cache)[:, 0, 0])
    [0.6666667 1.       ]
    """

    def __init__(
        self,
        num_levels: int,
        float_workspace_buffer: Optional[Tensor],
        kv_layout: str = "NHD",
        use_cuda_graph: bool = False,
        qo_indptr_buf_arr: Optional[Sequence[Tensor]] = None,
        paged_kv_indptr_buf_arr: Optional[Sequence[Tensor]] = None,
        paged_kv_indices_buf_arr: Optional[Sequence[Tensor]] = None,
        paged_kv_last_page_len_buf_arr: Optional[Sequence[Tensor]] = None,
    ) -> None:
        def buffers(level: int) -> tuple[Any, ...]:
            arrays = (
                qo_indptr_buf_arr, paged_kv_indptr_buf_arr, paged_kv_indices_buf_arr, paged_kv_last_page_len_buf_arr,
            )  # fmt: skip
            return tuple(array[level] if array else None for array in arrays)

        if num_levels < 1:
            raise ValueError(f"num_levels: expected at least 1, got {num_levels}")
        self._levels = [
            BatchPrefillWithPagedKVCacheWrapper(float_workspace_buffer, kv_layout, use_cuda_graph, *buffers(level))
            for level in range(num_levels)
        ]
        self._use_cuda_graph = use_cuda_graph

    @property
    def is_cuda_graph_enabled(self) -> bool:
        return self._use_cuda_graph

    def reset_workspace_buffer(
        self, float_workspace_buffer: Tensor, int_workspace_buffers: Optional[Sequence[Tensor]] = None
    ) -> None:
        """Names another buffer, as for the other wrappers."""
        for level in self._levels:
            level.reset_workspace_buffer(float_workspace_buffer)

    def plan(
        self,
        qo_indptr_arr: Sequence[Tensor],
        paged_kv_indptr_arr: Sequence[Tensor],
        paged_kv_indices_arr: Sequence[Tensor],
        paged_kv_last_page_len: Sequence[Tensor],
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        causal: bool = False,
        pos_encoding_mode: str = "NONE",
        use_fp16_qk_reduction: bool = False,
        sm_scale: Optional[float] = None,
        window_left: int = -1,
        logits_soft_cap: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
    ) -> None:
        """Index arrays of each level, as for BatchPrefillWithPagedKVCacheWrapper. A window and positions on the fly
        would need positions across levels: Unsupported."""
        where = type(self).__name__
        refuse(where, pos_encoding_mode=None if pos_encoding_mode == "NONE" else pos_encoding_mode)
        refuse(where, window_left=None if window_left < 0 else window_left)
        arrays = (qo_indptr_arr, paged_kv_indptr_arr, paged_kv_indices_arr, paged_kv_last_page_len)
        if any(len(array) != len(self._levels) for array in arrays):
            raise ValueError(
                f"{where}: expected index arrays of {len(self._levels)} levels, got {[len(array) for array in arrays]}"
            )
        for number, (level, qo_indptr, kv_indptr, kv_indices, last) in enumerate(zip(self._levels, *arrays)):
            level.plan(
                qo_indptr, kv_indptr, kv_indices, last, num_qo_heads, num_kv_heads, head_dim, page_size,
                causal=causal and number == len(self._levels) - 1, sm_scale=sm_scale, logits_soft_cap=logits_soft_cap,
                q_data_type=q_data_type, kv_data_type=kv_data_type,
            )  # fmt: skip

    def run(self, q: Tensor, paged_kv_cache: Any, *, out: Optional[Tensor] = None) -> Tensor:
        """Attends as planned: `q` is [nnz_qo, num_qo_heads, head_dim]; the cache and `out` as for the other wrappers."""
        out, lse = self._levels[-1].run(q, paged_kv_cache, out=out, return_lse=True)
        if framework_of(out, "run: out").can_write:
            for level in self._levels[:-1]:
                merge_state_in_place(out, lse, *level.run(q, paged_kv_cache, return_lse=True))
            return out
        for level in self._levels[:-1]:
            out, lse = merge_state(out, lse, *level.run(q, paged_kv_cache, return_lse=True))
        return out

    begin_forward = plan
    forward = run

    def end_forward(self) -> None:
        """Nothing to do; FlashInfer's old name."""


class _SharedPrefix:
    """What each request has for itself, behind a prefix of all."""

    _unique: Any

    def reset_workspace_buffer(self, float_workspace_buffer: Tensor, int_workspace_buffer: Optional[Tensor] = None) -> None:
        """Names another buffer, as for the other wrappers."""
        self._unique.reset_workspace_buffer(float_workspace_buffer)

    def end_forward(self) -> None:
        """Nothing to do."""


class BatchDecodeWithSharedPrefixPagedKVCacheWrapper(_SharedPrefix):
    """Decode of requests with one prefix whose KV is dense; FlashInfer's old style.

    `begin_forward` takes the pages of what each request has for itself, `forward` the queries
    [batch_size, num_qo_heads, head_dim], the prefix [shared_len, num_kv_heads, head_dim], and the cache.
    """

    def __init__(self, float_workspace_buffer: Optional[Tensor], kv_layout: str = "NHD") -> None:
        self._unique = BatchDecodeWithPagedKVCacheWrapper(float_workspace_buffer, kv_layout)
        self._kv_layout = kv_layout

    def begin_forward(
        self,
        unique_kv_indptr: Tensor,
        unique_kv_indices: Tensor,
        unique_kv_last_page_len: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        data_type: Any = "float16",
    ) -> None:
        self._unique.plan(
            unique_kv_indptr, unique_kv_indices, unique_kv_last_page_len, num_qo_heads, num_kv_heads, head_dim,
            page_size, data_type=data_type,
        )  # fmt: skip

    def forward(self, q: Tensor, k_shared: Tensor, v_shared: Tensor, unique_kv_cache: Any) -> Tensor:
        shared = single_prefill_with_kv_cache_return_lse(
            q, k_shared, v_shared, causal=False, kv_layout=self._kv_layout
        )
        return merge_state(*shared, *self._unique.run(q, unique_kv_cache, return_lse=True))[0]


class BatchPrefillWithSharedPrefixPagedKVCacheWrapper(_SharedPrefix):
    """Prefill or append of requests with one prefix whose KV is dense; FlashInfer's old style."""

    def __init__(self, float_workspace_buffer: Optional[Tensor], kv_layout: str = "NHD") -> None:
        self._unique = BatchPrefillWithPagedKVCacheWrapper(float_workspace_buffer, kv_layout)
        self._kv_layout = kv_layout
        self._begun: Optional[Callable[..., None]] = None

    def begin_forward(
        self,
        qo_indptr: Tensor,
        paged_kv_indptr: Tensor,
        paged_kv_indices: Tensor,
        paged_kv_last_page_len: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
    ) -> None:
        self._begun = partial(
            self._unique.plan, qo_indptr, paged_kv_indptr, paged_kv_indices, paged_kv_last_page_len, num_qo_heads,
            num_kv_heads, head_dim, page_size,
        )  # fmt: skip

    def forward(
        self,
        q: Tensor,
        k_shared: Tensor,
        v_shared: Tensor,
        unique_kv_cache: Any,
        causal: bool = False,
        use_fp16_qk_reduction: bool = False,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
    ) -> Tensor:
        """`causal` holds among what a request has for itself; all its queries see the prefix."""
        if self._begun is None:
            raise ValueError(f"{type(self).__name__}: forward: expected begin_forward to be called before it")
        k, _ = both_of_cache(unique_kv_cache)
        self._begun(causal=causal, sm_scale=sm_scale, q_data_type=q.dtype, kv_data_type=k.dtype)
        shared = single_prefill_with_kv_cache_return_lse(
            q, k_shared, v_shared, causal=False, kv_layout=self._kv_layout, sm_scale=sm_scale
        )
        return merge_state(*shared, *self._unique.run(q, unique_kv_cache, return_lse=True))[0]
