"""FlashInfer's persistent attention, and attention with sinks: the same plans as those of the other wrappers."""

from __future__ import annotations

from typing import Any, Optional, Union

from ._attention import BatchWrapper, dtypes, options, refuse
from ._scales import product
from .prefill import BatchPrefillWithPagedKVCacheWrapper

Tensor = Any
Result = Union[Tensor, tuple[Tensor, Tensor]]


class BatchAttention(BatchWrapper):
    """Attention of any mixture of decode and prefill requests over a paged KV cache.

    >>> import numpy as np
    >>> attention, i32 = BatchAttention(device="cpu"), np.int32
    >>> attention.plan(
    ...     i32([0, 2, 3]), i32([0, 1, 2]), i32([1, 0]), i32([2, 3]), 4, 2, 64, 64, page_size=4, causal=True,
    ...     q_data_type="float32", kv_data_type="float32",
    ... )
    >>> cache = np.ones((2, 2, 4, 2, 64), np.float32)
    >>> out, lse = attention.run(np.zeros((3, 4, 64), np.float32), cache)
    >>> print(out.mean(), lse[:, 0].round(4))
    1.0 [0.    1.    1.585]
    """

    def __init__(self, kv_layout: str = "NHD", device: Any = "cuda") -> None:
        self._device_name = str(device)
        super().__init__(None, kv_layout, "auto")

    def _device(self) -> tuple[str, int]:
        kind, _, index = self._device_name.partition(":")
        return kind, int(index or 0)

    def plan(
        self,
        qo_indptr: Tensor,
        kv_indptr: Tensor,
        kv_indices: Tensor,
        kv_len_arr: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim_qk: int,
        head_dim_vo: int,
        page_size: int,
        causal: bool = False,
        sm_scale: Optional[float] = None,
        logits_soft_cap: Optional[float] = None,
        q_data_type: Any = "bfloat16",
        kv_data_type: Any = "bfloat16",
        use_profiler: bool = False,
    ) -> None:
        """As for BatchPrefillWithPagedKVCacheWrapper, with the tokens of each request, `kv_len_arr`, instead of those
        of its last page."""
        refuse(type(self).__name__, use_profiler=use_profiler)
        q_dtype, kv_dtype = dtypes(q_data_type, kv_data_type)
        given = {
            "qo_indptr": qo_indptr,
            "kv_indptr": kv_indptr,
            "kv_indices": kv_indices,
            "kv_len": kv_len_arr,
            "num_qo_heads": num_qo_heads,
            "num_kv_heads": num_kv_heads,
            "head_dim_qk": head_dim_qk,
            "head_dim_vo": head_dim_vo,
            "page_size": page_size,
            "q_dtype": q_dtype,
            "kv_dtype": kv_dtype,
            "mask": "causal" if causal else "none",
            **options(logits_soft_cap=logits_soft_cap, sm_scale=sm_scale),
        }
        self._make_plan(given)

    def run(
        self,
        q: Tensor,
        kv_cache: Any,
        out: Optional[Tensor] = None,
        lse: Optional[Tensor] = None,
        k_scale: Any = None,
        v_scale: Any = None,
        logits_soft_cap: float = 0.0,
        profiler_buffer: Optional[Tensor] = None,
        kv_cache_sf: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Attends as planned; returns out and lse. A soft cap other than 0 takes the place of the plan's."""
        refuse(type(self).__name__, profiler_buffer=profiler_buffer, kv_cache_sf=kv_cache_sf)
        changed = {"logits_soft_cap": logits_soft_cap} if logits_soft_cap else None
        return self._run(q, kv_cache, out, lse, True, None, None, k_scale, v_scale, changed=changed)


class BatchAttentionWithAttentionSinkWrapper(BatchPrefillWithPagedKVCacheWrapper):
    """`BatchPrefillWithPagedKVCacheWrapper` whose runs take a sink: one more logit of each head, without a value."""

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
        pos_encoding_mode: str = "NONE",
        use_fp16_qk_reduction: bool = False,
        q_data_type: Any = "bfloat16",
        kv_data_type: Any = "bfloat16",
        head_dim_qk: int = 128,
        head_dim_vo: int = 128,
        window_left: int = -1,
    ) -> None:
        super().__init__(
            float_workspace_buffer, kv_layout, use_cuda_graph, qo_indptr_buf, paged_kv_indptr_buf,
            paged_kv_indices_buf, paged_kv_last_page_len_buf, custom_mask_buf, mask_indptr_buf, backend,
        )  # fmt: skip

    def run(  # type: ignore[override]
        self,
        q: Tensor,
        paged_kv_cache: Any,
        sinks: Tensor,
        sm_scale: Optional[float] = None,
        q_scale: Any = None,
        **kwargs: Any,
    ) -> Result:
        """`sinks` is f32 [num_qo_heads]; `sm_scale` takes the place of the plan's."""
        if sm_scale is not None:
            planned = self._check_planned()
            of_plan = planned.given("sm_scale") or planned.given("head_dim_qk") ** -0.5
            q_scale = product(q_scale, sm_scale / of_plan)
        return super().run(q, paged_kv_cache, sinks=sinks, q_scale=q_scale, **kwargs)
