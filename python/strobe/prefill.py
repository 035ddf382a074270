"""Attention of many query tokens: a single request, and batches over paged or ragged KV (prefill, append, mixed).

For query token i of a request, at position p = kv_len - qo_len + i, and query head h, which reads KV head
h // (num_qo_heads // num_kv_heads):

    x[j] = q[i, h] . k[j] * sm_scale * q_scale * k_scale, then ALiBi, then logits_soft_cap * tanh(x / logits_soft_cap)
    out  = v_scale * sum_j exp(x[j]) v[j] / sum_j exp(x[j])         lse = log2(sum_j exp(x[j])), f32

over the j that mask and window let through: causal j <= p (right-aligned), j >= p - window_left, or a custom mask. A
query token that sees nothing gets out 0 and lse -inf. `q` is f32, f16 or bf16; `k` and `v` have its dtype, e4m3 or
e5m2. Or all three are e4m3, out is f16 or what is asked for, and runs take scales by head behind the tensors, as
FlashInfer's do: run(q, k, v, scale_q, scale_k, scale_v), f32 [num_qo_heads], [num_kv_heads], [num_kv_heads]. Head dimensions
are multiples of 8 up to 512; those of q and k may differ from that of v.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Optional, Union

from ._attention import BatchWrapper, backend_name, dtypes, options, out_dtype, pack_mask, refuse
from ._dtypes import dtype_name
from ._errors import unsupported
from ._frameworks import framework_of
from ._kv import check_layout
from ._native import bind
from ._scoring import scoring_mask

Tensor = Any
Result = Union[Tensor, tuple[Tensor, Tensor]]

_SINGLE = (
    "q k v out lse custom_mask mask kv_layout pos_encoding window_left logits_soft_cap sm_scale rope_scale rope_theta "
    "k_scale v_scale q_scales k_scales v_scales"
).split()
_single_calls: dict[str, Any] = {}


def single_prefill_with_kv_cache(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale_q: Optional[Tensor] = None,
    scale_k: Optional[Tensor] = None,
    scale_v: Optional[Tensor] = None,
    o_dtype: Any = None,
    custom_mask: Optional[Tensor] = None,
    packed_custom_mask: Optional[Tensor] = None,
    causal: bool = False,
    kv_layout: str = "NHD",
    pos_encoding_mode: str = "NONE",
    use_fp16_qk_reduction: bool = False,
    sm_scale: Optional[float] = None,
    window_left: int = -1,
    logits_soft_cap: Optional[float] = None,
    rope_scale: Optional[float] = None,
    rope_theta: Optional[float] = None,
    backend: str = "auto",
    return_lse: bool = False,
    kv_cache_sf: Any = None,
    k_scale: Optional[float] = None,
    v_scale: Optional[float] = None,
    *,
    out: Optional[Tensor] = None,
    lse: Optional[Tensor] = None,
) -> Result:
    """The query tokens of one request attend to its KV.

    Args:
        q: [qo_len, num_qo_heads, head_dim_qk].
        k, v: [kv_len, num_kv_heads, head_dim] (HND: [num_kv_heads, kv_len, head_dim]).
        scale_q, scale_k, scale_v: f32 [num_qo_heads], [num_kv_heads], [num_kv_heads]: factors of the heads of q, k and v in
            e4m3.
        o_dtype: dtype of the output; that of q when it is left away, f16 for e4m3.
        custom_mask: bool [qo_len, kv_len], True where a query token sees a KV token; instead of `causal`.
        packed_custom_mask: the same as `packbits(mask, bitorder="little")`.
        use_fp16_qk_reduction: taken for FlashInfer's sake; Strobe sums in f32.
        backend: auto, fa2 (cuda/sm80), fa3 (cuda/sm90), or Strobe's own names.
        out, lse: receive the results; made when they are left away.

    Returns:
        out [qo_len, num_qo_heads, head_dim_vo]; with return_lse also lse [qo_len, num_qo_heads], f32.

    >>> import numpy as np
    >>> q = k = np.zeros((3, 1, 8), np.float32)
    >>> v = np.float32([3, 5, 7]).reshape(3, 1, 1) * np.ones((3, 1, 8), np.float32)
    >>> single_prefill_with_kv_cache(q, k, v, causal=True)[:, 0, 0].tolist()
    [3.0, 4.0, 5.0]
    >>> mask = np.bool_([[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    >>> single_prefill_with_kv_cache(q, k, v, custom_mask=mask)[:, 0, 0].tolist()
    [5.0, 5.0, 0.0]
    """
    refuse("single_prefill_with_kv_cache", kv_cache_sf=kv_cache_sf)
    framework = framework_of(q, "single_prefill: q")
    if packed_custom_mask is None and custom_mask is not None:
        packed_custom_mask = pack_mask(custom_mask)
    mask = "custom" if packed_custom_mask is not None else "causal" if causal else "none"
    if out is None:
        out = framework.empty((*q.shape[:2], v.shape[-1]), q, out_dtype(o_dtype, dtype_name(q.dtype)))
    if return_lse and lse is None:
        lse = framework.empty(q.shape[:2], q, "f32")
    if backend not in _single_calls:
        _single_calls[backend] = bind("single_prefill", _SINGLE, backend_name(backend))
    o = options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta)
    _single_calls[backend](
        q, k, v, out, lse, packed_custom_mask, mask, check_layout(kv_layout), o["pos_encoding"], o["window_left"],
        o["logits_soft_cap"], o["sm_scale"], o["rope_scale"], o["rope_theta"], k_scale, v_scale, scale_q, scale_k, scale_v,
    )  # fmt: skip
    return (framework.result(out), framework.result(lse)) if return_lse else framework.result(out)


def single_prefill_with_kv_cache_return_lse(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """`single_prefill_with_kv_cache` with return_lse=True."""
    return single_prefill_with_kv_cache(*args, **{**kwargs, "return_lse": True})


class _BatchPrefill(BatchWrapper):
    """What paged and ragged prefill share."""

    _use_cuda_graph = False
    _fixed_batch_size = 0
    _max_query_tokens = 0
    _max_kv = 0  # pages of the buffers for CUDA graphs, or rows of ragged KV in the first plan

    @property
    def is_cuda_graph_enabled(self) -> bool:
        return self._use_cuda_graph

    def _mask(
        self,
        custom_mask: Optional[Tensor],
        packed_custom_mask: Optional[Tensor],
        causal: bool,
        qo_lens: list[int],
        kv_lens: list[int],
        scoring: tuple[Optional[Tensor], Optional[Tensor], Any, Optional[Tensor]],
    ) -> dict[str, Any]:
        """The mask's arguments; the lengths are needed for all masks but the causal one and none."""
        prefix_len_ptr, token_pos_in_items_ptr, stride, _ = scoring
        if custom_mask is None and packed_custom_mask is None:
            if prefix_len_ptr is None and token_pos_in_items_ptr is None:
                return {"mask": "causal" if causal else "none"}
            if prefix_len_ptr is None or token_pos_in_items_ptr is None:
                raise ValueError("prefix_len_ptr, token_pos_in_items_ptr: expected both or neither, got one of them")
            return self._scoring_mask(qo_lens, kv_lens, prefix_len_ptr, token_pos_in_items_ptr, int(stride))
        bits = [qo_len * kv_len for qo_len, kv_len in zip(qo_lens, kv_lens)]
        if packed_custom_mask is None:
            from .quantization import segment_packbits

            framework = framework_of(custom_mask, f"{self._operator}: custom_mask")
            starts = [0]
            for n in bits:
                starts.append(starts[-1] + n)
            packed, indptr = segment_packbits(custom_mask, framework.from_list(starts, custom_mask), bitorder="little")
            return {"mask": "custom", "custom_mask": packed, "custom_mask_indptr": indptr}
        framework = framework_of(packed_custom_mask, f"{self._operator}: packed_custom_mask")
        starts = [0]
        for n in bits:
            starts.append(starts[-1] + (n + 7) // 8)
        indptr = framework.from_list(starts, packed_custom_mask)
        return {"mask": "custom", "custom_mask": packed_custom_mask, "custom_mask_indptr": indptr}

    def _scoring_mask(
        self, qo_lens: list[int], kv_lens: list[int], prefix_len_ptr: Tensor, token_pos_in_items_ptr: Tensor, stride: int
    ) -> dict[str, Any]:
        """The arguments of multi-item scoring as those of a custom mask. Reads them to the host."""
        framework = framework_of(token_pos_in_items_ptr, f"{self._operator}: token_pos_in_items_ptr")
        prefixes = framework_of(prefix_len_ptr, f"{self._operator}: prefix_len_ptr").to_host(prefix_len_ptr).reshape(-1).tolist()
        positions = framework.to_host(token_pos_in_items_ptr).reshape(-1).tolist()
        if len(prefixes) != len(qo_lens):
            raise ValueError(f"prefix_len_ptr: expected shape [batch_size = {len(qo_lens)}], got [{len(prefixes)}]")
        masks = [
            scoring_mask(qo_len, kv_len, prefix, positions[r * stride : (r + 1) * stride])
            for r, (qo_len, kv_len, prefix) in enumerate(zip(qo_lens, kv_lens, prefixes))
        ]
        starts = [0, *accumulate(map(len, masks))]
        return {
            "mask": "custom",
            "custom_mask": framework.from_bytes(b"".join(masks), token_pos_in_items_ptr),
            "custom_mask_indptr": framework.from_list(starts, token_pos_in_items_ptr),
        }

    def _fix_sizes(self, **buffers: Optional[Tensor]) -> None:
        for name, buffer in buffers.items():
            if buffer is None:
                raise ValueError(f"{type(self).__name__}: {name}: expected one with use_cuda_graph, got nothing")
        self._fixed_batch_size = int(next(iter(buffers.values())).shape[0]) - 1  # type: ignore[union-attr]

    def _capacity(self, qo_indptr: Any, kv_tokens: int) -> dict[str, int]:
        """With use_cuda_graph: the batch size of the buffers, the query tokens of the first plan (FlashInfer's rule),
        and `kv_tokens`."""
        if not self._use_cuda_graph:
            return {}
        batch_size = int(qo_indptr.shape[0]) - 1
        if batch_size != self._fixed_batch_size:
            raise ValueError(
                f"{type(self).__name__}: qo_indptr: expected the batch size {self._fixed_batch_size} of the buffers given "
                f"for CUDA graphs, got {batch_size}"
            )
        tokens = int(qo_indptr[-1])
        self._max_query_tokens = self._max_query_tokens or tokens
        if tokens > self._max_query_tokens:
            raise ValueError(
                f"{type(self).__name__}: qo_indptr: expected at most {self._max_query_tokens} query tokens, as many as in "
                f"the first plan for CUDA graphs, got {tokens}"
            )
        return self._graph_capacity(batch_size, self._max_query_tokens, 0, kv_tokens)

    def run_return_lse(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """`run` with return_lse=True."""
        return self.run(*args, **{**kwargs, "return_lse": True})  # type: ignore[attr-defined,no-any-return]

    forward_return_lse = run_return_lse


def _lengths(indptr: Any) -> list[int]:
    values = indptr.tolist()
    return [end - begin for begin, end in zip(values, values[1:])]


class BatchPrefillWithPagedKVCacheWrapper(_BatchPrefill):
    """Prefill, append or a mixture of a batch of requests over a paged KV cache.

    >>> import numpy as np
    >>> wrapper = BatchPrefillWithPagedKVCacheWrapper(np.empty(1, np.uint8))
    >>> i32 = np.int32
    >>> wrapper.plan(
    ...     i32([0, 2, 3]), i32([0, 1, 2]), i32([1, 0]), i32([2, 3]), 4, 2, 64, page_size=4, causal=True,
    ...     q_data_type="float32",
    ... )
    >>> q, cache = np.zeros((3, 4, 64), np.float32), np.ones((2, 2, 4, 2, 64), np.float32)
    >>> out, lse = wrapper.run(q, cache, return_lse=True)
    >>> print(out.mean(), lse[:, 0].round(4))
    1.0 [0.    1.    1.585]

    Args: as those of BatchDecodeWithPagedKVCacheWrapper; qo_indptr_buf and the others are FlashInfer's buffers for
    CUDA graphs, of which Strobe takes the sizes.
    """

    def __init__(
        self,
        float_workspace_buffer: Optional[Tensor],
        kv_layout: str = "NHD",
        use_cuda_graph: bool = False,
        qo_indptr_buf: Optional[Tensor] = None,
        paged_kv_indptr_buf: Optional[Tensor] = None,
        paged_kv_indices_buf: Optional[Tensor] = None,
        paged_kv_last_page_len_buf: Optional[Tensor] = None,
        custom_mask_buf: Optional[Tensor] = None,
        mask_indptr_buf: Optional[Tensor] = None,
        backend: str = "auto",
        jit_args: Optional[list[Any]] = None,
        jit_kwargs: Optional[dict[str, Any]] = None,
    ) -> None:
        super().__init__(float_workspace_buffer, kv_layout, backend, jit_args)
        self._use_cuda_graph = use_cuda_graph
        if use_cuda_graph:
            self._fix_sizes(
                qo_indptr_buf=qo_indptr_buf, paged_kv_indptr_buf=paged_kv_indptr_buf,
                paged_kv_indices_buf=paged_kv_indices_buf, paged_kv_last_page_len_buf=paged_kv_last_page_len_buf,
            )  # fmt: skip
            self._max_kv = int(paged_kv_indices_buf.shape[0])  # type: ignore[union-attr]

    def plan(
        self,
        qo_indptr: Tensor,
        paged_kv_indptr: Tensor,
        paged_kv_indices: Tensor,
        paged_kv_last_page_len: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim_qk: int,
        page_size: int,
        head_dim_vo: Optional[int] = None,
        custom_mask: Optional[Tensor] = None,
        packed_custom_mask: Optional[Tensor] = None,
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
        o_data_type: Any = None,
        non_blocking: bool = True,
        prefix_len_ptr: Optional[Tensor] = None,
        token_pos_in_items_ptr: Optional[Tensor] = None,
        token_pos_in_items_len: int = 0,
        max_item_len_ptr: Optional[Tensor] = None,
        seq_lens: Optional[Tensor] = None,
        seq_lens_q: Optional[Tensor] = None,
        block_tables: Optional[Tensor] = None,
        max_token_per_sequence: Optional[int] = None,
        max_sequence_kv: Optional[int] = None,
        fixed_split_size: Optional[int] = None,
        disable_split_kv: bool = False,
    ) -> None:
        """Says who attends to what; runs may follow as often as there are layers.

        Args:
            qo_indptr: int32 [batch_size + 1]: request r has the query rows [qo_indptr[r], qo_indptr[r + 1]).
            paged_kv_indptr, paged_kv_indices, paged_kv_last_page_len: the pages of each request, as for decode.
            custom_mask: bool, the masks [qo_len, kv_len] of all requests one after another, flattened.
            packed_custom_mask: the same as `segment_packbits(..., bitorder="little")` packs it.
            prefix_len_ptr, token_pos_in_items_ptr, token_pos_in_items_len: multi-item scoring: behind a prefix of
                prefix_len_ptr[r] tokens a request has items that see the prefix and themselves, causally; token t behind it
                is the token_pos_in_items_ptr[r * token_pos_in_items_len + t]-th of its item, a delimiter is the 0-th.
            fixed_split_size, disable_split_kv: deterministic plans, as for decode.
        """
        q_dtype, kv_dtype = dtypes(q_data_type, kv_data_type)
        self._out_dtype = out_dtype(o_data_type, q_dtype)
        framework = framework_of(qo_indptr, "batch_attention_paged: qo_indptr")
        host = [
            framework.to_host(array)
            for array in (qo_indptr, paged_kv_indptr, paged_kv_indices, paged_kv_last_page_len)
        ]
        qo_lens, kv_lens = [], []
        if custom_mask is not None or packed_custom_mask is not None or prefix_len_ptr is not None:
            pages, last = _lengths(host[1]), host[3].tolist()
            kv_lens = [(n - 1) * page_size + tail if n else 0 for n, tail in zip(pages, last)]
            qo_lens = _lengths(host[0])
        scoring = (prefix_len_ptr, token_pos_in_items_ptr, token_pos_in_items_len, max_item_len_ptr)
        given = {
            "qo_indptr": host[0],
            "kv_indptr": host[1],
            "kv_indices": host[2],
            "last_page_len": host[3],
            "num_qo_heads": num_qo_heads,
            "num_kv_heads": num_kv_heads,
            "head_dim_qk": head_dim_qk,
            "head_dim_vo": head_dim_vo,
            "page_size": page_size,
            "q_dtype": q_dtype,
            "kv_dtype": kv_dtype,
            "deterministic": fixed_split_size is not None or disable_split_kv,
            **self._mask(custom_mask, packed_custom_mask, causal, qo_lens, kv_lens, scoring),
            **options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta),
            **self._capacity(host[0], self._max_kv * page_size),
        }
        self._plan_bytes = self._make_plan(given)

    def workspace_size(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """Bytes that runs of such a plan use, and 0: Strobe needs no second buffer. Arguments as those of `plan`."""
        twin = BatchPrefillWithPagedKVCacheWrapper(self._float_workspace_buffer, self._kv_layout, backend=self._backend)
        twin.plan(*args, **kwargs)
        return twin._plan_bytes, 0

    def run(
        self,
        q: Tensor,
        paged_kv_cache: Any,
        *args: Any,
        q_scale: Any = None,
        k_scale: Any = None,
        v_scale: Any = None,
        out: Optional[Tensor] = None,
        lse: Optional[Tensor] = None,
        return_lse: bool = False,
        enable_pdl: Optional[bool] = None,
        window_left: Optional[int] = None,
        sinks: Optional[Tensor] = None,
        kv_cache_sf: Any = None,
        skip_softmax_threshold_scale_factor: Optional[float] = None,
        use_fp16_softmax: Optional[bool] = None,
        uses_spcompress: Optional[bool] = None,
    ) -> Result:
        """Attends as planned: `q` is [nnz_qo, num_qo_heads, head_dim_qk]; the rest as for decode."""
        if kv_cache_sf is not None or skip_softmax_threshold_scale_factor is not None or uses_spcompress:
            refuse(
                type(self).__name__, kv_cache_sf=kv_cache_sf, uses_spcompress=uses_spcompress,
                skip_softmax_threshold_scale_factor=skip_softmax_threshold_scale_factor,
            )  # fmt: skip
        changed = None if window_left is None else {"window_left": window_left}
        return self._run(q, paged_kv_cache, out, lse, return_lse, sinks, q_scale, k_scale, v_scale, args, changed)

    begin_forward = plan

    def forward(
        self,
        q: Tensor,
        paged_kv_cache: Any,
        causal: bool = False,
        pos_encoding_mode: str = "NONE",
        use_fp16_qk_reduction: bool = False,
        k_scale: Optional[float] = None,
        v_scale: Optional[float] = None,
        window_left: int = -1,
        logits_soft_cap: Optional[float] = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
    ) -> Tensor:
        """FlashInfer's old form, which gives attributes of the plan again."""
        changed = options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta)
        planned = self._check_planned()
        if planned.given("mask") != "custom":
            changed["mask"] = "causal" if causal else "none"
        planned.replan(**changed)
        return self.run(q, paged_kv_cache, k_scale=k_scale, v_scale=v_scale)


class BatchPrefillWithRaggedKVCacheWrapper(_BatchPrefill):
    """Prefill of a batch of requests over ragged KV: k and v are [nnz_kv, num_kv_heads, head_dim].

    >>> import numpy as np
    >>> wrapper = BatchPrefillWithRaggedKVCacheWrapper(np.empty(1, np.uint8))
    >>> indptr = np.int32([0, 2, 3])
    >>> wrapper.plan(indptr, indptr, 4, 2, 64, causal=True, q_data_type="float32")
    >>> x = np.ones((3, 2, 64), np.float32)
    >>> print(wrapper.run(np.zeros((3, 4, 64), np.float32), x, x, return_lse=True)[1][:, 0])
    [0. 1. 0.]
    """

    _operator = "batch_attention_ragged"
    _paged = False

    def __init__(
        self,
        float_workspace_buffer: Optional[Tensor],
        kv_layout: str = "NHD",
        use_cuda_graph: bool = False,
        qo_indptr_buf: Optional[Tensor] = None,
        kv_indptr_buf: Optional[Tensor] = None,
        custom_mask_buf: Optional[Tensor] = None,
        mask_indptr_buf: Optional[Tensor] = None,
        backend: str = "auto",
        jit_args: Optional[list[Any]] = None,
        jit_kwargs: Optional[dict[str, Any]] = None,
    ) -> None:
        super().__init__(float_workspace_buffer, kv_layout, backend, jit_args)
        self._use_cuda_graph = use_cuda_graph
        if use_cuda_graph:
            self._fix_sizes(qo_indptr_buf=qo_indptr_buf, kv_indptr_buf=kv_indptr_buf)

    def plan(
        self,
        qo_indptr: Tensor,
        kv_indptr: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim_qk: int,
        head_dim_vo: Optional[int] = None,
        custom_mask: Optional[Tensor] = None,
        packed_custom_mask: Optional[Tensor] = None,
        causal: bool = False,
        pos_encoding_mode: str = "NONE",
        use_fp16_qk_reduction: bool = False,
        window_left: int = -1,
        logits_soft_cap: Optional[float] = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
        o_data_type: Any = None,
        non_blocking: bool = True,
        prefix_len_ptr: Optional[Tensor] = None,
        token_pos_in_items_ptr: Optional[Tensor] = None,
        token_pos_in_items_len: int = 0,
        max_item_len_ptr: Optional[Tensor] = None,
        fixed_split_size: Optional[int] = None,
        disable_split_kv: bool = False,
        seq_lens: Optional[Tensor] = None,
        seq_lens_q: Optional[Tensor] = None,
        max_token_per_sequence: Optional[int] = None,
        max_sequence_kv: Optional[int] = None,
        v_indptr: Optional[Tensor] = None,
        o_indptr: Optional[Tensor] = None,
    ) -> None:
        """Says who attends to what: request r has the query rows [qo_indptr[r], qo_indptr[r + 1]) and the KV rows
        [kv_indptr[r], kv_indptr[r + 1]). Masks and the rest as for the paged wrapper."""
        refuse(type(self).__name__, v_indptr=v_indptr, o_indptr=o_indptr)
        q_dtype, kv_dtype = dtypes(q_data_type, kv_data_type)
        self._out_dtype = out_dtype(o_data_type, q_dtype)
        framework = framework_of(qo_indptr, "batch_attention_ragged: qo_indptr")
        qo_indptr, kv_indptr = framework.to_host(qo_indptr), framework.to_host(kv_indptr)
        self._max_kv = self._max_kv or int(kv_indptr[-1])
        qo_lens, kv_lens = [], []
        if custom_mask is not None or packed_custom_mask is not None or prefix_len_ptr is not None:
            qo_lens, kv_lens = _lengths(qo_indptr), _lengths(kv_indptr)
        scoring = (prefix_len_ptr, token_pos_in_items_ptr, token_pos_in_items_len, max_item_len_ptr)
        given = {
            "qo_indptr": qo_indptr,
            "kv_indptr": kv_indptr,
            "num_qo_heads": num_qo_heads,
            "num_kv_heads": num_kv_heads,
            "head_dim_qk": head_dim_qk,
            "head_dim_vo": head_dim_vo,
            "q_dtype": q_dtype,
            "kv_dtype": kv_dtype,
            "deterministic": fixed_split_size is not None or disable_split_kv,
            **self._mask(custom_mask, packed_custom_mask, causal, qo_lens, kv_lens, scoring),
            **options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta),
            **self._capacity(qo_indptr, self._max_kv),
        }
        self._make_plan(given)

    def run(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *args: Any,
        q_scale: Optional[float] = None,
        k_scale: Optional[float] = None,
        v_scale: Optional[float] = None,
        o_scale: Optional[float] = None,
        out: Optional[Tensor] = None,
        lse: Optional[Tensor] = None,
        return_lse: bool = False,
        enable_pdl: Optional[bool] = None,
        kv_cache_sf: Any = None,
    ) -> Result:
        """Attends as planned: `q` is [nnz_qo, num_qo_heads, head_dim_qk], `k` and `v` are [nnz_kv, num_kv_heads,
        head_dim] (HND: [num_kv_heads, nnz_kv, head_dim])."""
        if o_scale is not None or kv_cache_sf is not None:
            refuse(type(self).__name__, o_scale=o_scale, kv_cache_sf=kv_cache_sf)
        return self._run(q, (k, v), out, lse, return_lse, None, q_scale, k_scale, v_scale, args)

    begin_forward = plan

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        causal: bool = False,
        pos_encoding_mode: str = "NONE",
        use_fp16_qk_reduction: bool = False,
        window_left: int = -1,
        logits_soft_cap: Optional[float] = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
    ) -> Tensor:
        """FlashInfer's old form, which gives attributes of the plan again."""
        changed = options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta)
        planned = self._check_planned()
        if planned.given("mask") != "custom":
            changed["mask"] = "causal" if causal else "none"
        planned.replan(**changed)
        return self.run(q, k, v)


def single_prefill_with_kv_cache_with_jit_module(
    jit_module: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *args: Any,
    kv_layout: str = "NHD",
    mask_mode: int = 0,
    window_left: int = -1,
    return_lse: bool = False,
) -> Result:
    """One request with a variant (strobe.variants): `jit_module` is gen_customize_single_prefill_module(…)'s, `args` are
    the variant's tensors and then its scalars; mask_mode 0 none, 1 causal, 2 the variant's own."""
    return jit_module.attend(q, k, v, args, kv_layout, mask_mode, window_left, return_lse)


cudnn_batch_prefill_with_kv_cache = unsupported("strobe.prefill.cudnn_batch_prefill_with_kv_cache")
fmha_v2_prefill_deepseek = unsupported("strobe.prefill.fmha_v2_prefill_deepseek")
trtllm_batch_context_with_kv_cache = unsupported("strobe.prefill.trtllm_batch_context_with_kv_cache")
trtllm_fmha_v2_prefill = unsupported("strobe.prefill.trtllm_fmha_v2_prefill")
trtllm_ragged_attention_deepseek = unsupported("strobe.prefill.trtllm_ragged_attention_deepseek")
trtllm_sage_attention_quantize = unsupported("strobe.prefill.trtllm_sage_attention_quantize")
