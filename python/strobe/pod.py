"""FlashInfer's prefill-on-decode: prefill and decode requests in one call.

Strobe serves any mixture of requests over one paged cache by one plan (`BatchPrefillWithPagedKVCacheWrapper`,
`BatchAttention`). These classes are there for programs written for FlashInfer's: the prefill part and the decode part
are a plan each, run one after the other on the same stream.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from ._attention import options, refuse
from ._scales import scale
from .decode import BatchDecodeWithPagedKVCacheWrapper
from .prefill import BatchPrefillWithPagedKVCacheWrapper, single_prefill_with_kv_cache

Tensor = Any
Part = Union[Tensor, tuple[Tensor, Tensor]]


class PODWithPagedKVCacheWrapper:
    """One prefill request over dense KV, and a batch of decode requests over a paged cache.

    >>> import numpy as np
    >>> i32, wrapper = np.int32, PODWithPagedKVCacheWrapper(np.empty(1, np.uint8))
    >>> wrapper.plan(i32([0, 1]), i32([0]), i32([3]), 2, 1, 64, page_size=4, q_data_type="float32")
    >>> x, cache = np.ones((3, 1, 64), np.float32), np.ones((1, 2, 4, 1, 64), np.float32)
    >>> (p, lse), d = wrapper.run(np.zeros((3, 2, 64), np.float32), x, x, np.zeros((1, 2, 64), np.float32), cache,
    ...     causal_p=True, return_lse_p=True)
    >>> print(p.shape, lse[:, 0].round(3), d.mean())
    (3, 2, 64) [0.    1.    1.585] 1.0
    """

    def __init__(
        self,
        float_workspace_buffer: Tensor,
        kv_layout: str = "NHD",
        use_cuda_graph: bool = False,
        paged_kv_indptr_buffer: Optional[Tensor] = None,
        paged_kv_indices_buffer: Optional[Tensor] = None,
        paged_kv_last_page_len_buffer: Optional[Tensor] = None,
        jit_args: Optional[list[Any]] = None,
    ) -> None:
        self._kv_layout = kv_layout
        self._decode = BatchDecodeWithPagedKVCacheWrapper(
            float_workspace_buffer, kv_layout, use_cuda_graph, paged_kv_indptr_buffer=paged_kv_indptr_buffer,
            paged_kv_indices_buffer=paged_kv_indices_buffer,
            paged_kv_last_page_len_buffer=paged_kv_last_page_len_buffer, jit_args=jit_args,
        )  # fmt: skip

    @property
    def is_cuda_graph_enabled(self) -> bool:
        return self._decode.is_cuda_graph_enabled

    def reset_workspace_buffer(
        self, float_workspace_buffer: Tensor, int_workspace_buffer: Optional[Tensor] = None
    ) -> None:
        """Names another buffer, as for the other wrappers."""
        self._decode.reset_workspace_buffer(float_workspace_buffer)

    def plan(
        self,
        indptr: Tensor,
        indices: Tensor,
        last_page_len: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        pos_encoding_mode: str = "NONE",
        window_left: int = -1,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
        data_type: Any = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
        non_blocking: bool = True,
    ) -> None:
        """The decode requests, as for BatchDecodeWithPagedKVCacheWrapper."""
        self._options = options(pos_encoding_mode, window_left, None, sm_scale, rope_scale, rope_theta)
        self._decode.plan(
            indptr, indices, last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size, pos_encoding_mode,
            window_left, q_data_type=q_data_type, kv_data_type=kv_data_type, data_type=data_type, sm_scale=sm_scale,
            rope_scale=rope_scale, rope_theta=rope_theta,
        )  # fmt: skip

    begin_forward = plan

    def run(
        self,
        q_p: Tensor,
        k_p: Tensor,
        v_p: Tensor,
        q_d: Tensor,
        paged_kv_cache_d: Any,
        custom_mask_p: Optional[Tensor] = None,
        packed_custom_mask_p: Optional[Tensor] = None,
        causal_p: bool = False,
        kv_layout_p: str = "NHD",
        pos_encoding_mode_p: str = "NONE",
        sm_scale_p: Optional[float] = None,
        window_left_p: int = -1,
        rope_scale_p: Optional[float] = None,
        rope_theta_p: Optional[float] = None,
        return_lse_p: bool = False,
        custom_mask_d: Optional[Tensor] = None,
        packed_custom_mask_d: Optional[Tensor] = None,
        causal_d: bool = False,
        kv_layout_d: str = "NHD",
        pos_encoding_mode_d: str = "NONE",
        sm_scale_d: Optional[float] = None,
        window_left_d: int = -1,
        rope_scale_d: Optional[float] = None,
        rope_theta_d: Optional[float] = None,
        q_scale: Optional[float] = None,
        k_scale: Optional[float] = None,
        v_scale: Optional[float] = None,
        return_lse_d: bool = False,
        use_fp16_qk_reduction: bool = False,
        enable_pdl: Optional[bool] = None,
        *args: Any,
    ) -> tuple[Part, Part]:
        """The results of prefill, whose arguments end in _p, and of decode; each with its lse where that is asked for.

        Args:
            q_p, k_p, v_p: [qo_len, num_qo_heads, head_dim], [kv_len, num_kv_heads, head_dim] (in `kv_layout_p`).
            q_d, paged_kv_cache_d: as for BatchDecodeWithPagedKVCacheWrapper. Options of decode that are given here
                take the place of the plan's, which is made anew then. A causal mask is none for one query token.
            q_scale, k_scale, v_scale: of the decode part.
        """
        where = type(self).__name__
        refuse(where, custom_mask_d=custom_mask_d, packed_custom_mask_d=packed_custom_mask_d, args=args or None)
        if kv_layout_d != self._kv_layout:
            raise ValueError(f"{where}: kv_layout_d: expected {self._kv_layout} as given at first, got {kv_layout_d}")
        prefill = single_prefill_with_kv_cache(
            q_p, k_p, v_p, custom_mask=custom_mask_p, packed_custom_mask=packed_custom_mask_p, causal=causal_p,
            kv_layout=kv_layout_p, pos_encoding_mode=pos_encoding_mode_p, sm_scale=sm_scale_p,
            window_left=window_left_p, rope_scale=rope_scale_p, rope_theta=rope_theta_p, return_lse=return_lse_p,
        )  # fmt: skip
        asked = options(pos_encoding_mode_d, window_left_d, None, sm_scale_d, rope_scale_d, rope_theta_d)
        unasked = options()
        self._decode._check_planned().replan(
            **{name: self._options[name] if asked[name] == unasked[name] else asked[name] for name in asked}
        )
        decode = self._decode.run(
            q_d, paged_kv_cache_d, q_scale=q_scale, k_scale=k_scale, v_scale=v_scale, return_lse=return_lse_d
        )
        return prefill, decode

    def end_forward(self) -> None:
        """Nothing to do; FlashInfer's old name."""


class BatchPODWithPagedKVCacheWrapper:
    """A batch of prefill requests and a batch of decode requests, each over a paged cache; it may be the same."""

    def __init__(self, float_workspace_buffer: Tensor, kv_layout: str = "NHD") -> None:
        self._prefill = BatchPrefillWithPagedKVCacheWrapper(float_workspace_buffer, kv_layout)
        self._decode = BatchPrefillWithPagedKVCacheWrapper(float_workspace_buffer, kv_layout)

    @property
    def is_cuda_graph_enabled(self) -> bool:
        return False

    def reset_workspace_buffer(
        self, float_workspace_buffer: Tensor, int_workspace_buffer: Optional[Tensor] = None
    ) -> None:
        """Names another buffer, as for the other wrappers."""
        for part in (self._prefill, self._decode):
            part.reset_workspace_buffer(float_workspace_buffer)

    def plan(
        self,
        qo_indptr_p: Tensor,
        kv_indptr_p: Tensor,
        kv_indices_p: Tensor,
        last_page_len_p: Tensor,
        qo_indptr_d: Tensor,
        kv_indptr_d: Tensor,
        kv_indices_d: Tensor,
        last_page_len_d: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        pos_encoding_mode: str = "NONE",
        window_left: int = -1,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
        data_type: Any = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
        non_blocking: bool = True,
    ) -> None:
        """The requests of both parts, as for BatchPrefillWithPagedKVCacheWrapper."""
        common = {
            "pos_encoding_mode": pos_encoding_mode, "window_left": window_left,
            "q_data_type": data_type or q_data_type, "kv_data_type": kv_data_type, "sm_scale": sm_scale,
            "rope_scale": rope_scale, "rope_theta": rope_theta,
        }  # fmt: skip
        heads = (num_qo_heads, num_kv_heads, head_dim, page_size)
        self._arguments = ((qo_indptr_p, kv_indptr_p, kv_indices_p, last_page_len_p, *heads), common)
        self._mask = (None, None, False)
        self._prefill.plan(*self._arguments[0], **common)
        self._decode.plan(qo_indptr_d, kv_indptr_d, kv_indices_d, last_page_len_d, *heads, **common)

    begin_forward = plan

    def run(
        self,
        q_p: Tensor,
        paged_kv_cache_p: Any,
        q_d: Tensor,
        paged_kv_cache_d: Any,
        custom_mask_p: Optional[Tensor] = None,
        packed_custom_mask_p: Optional[Tensor] = None,
        causal_p: bool = False,
        q_scale: Optional[float] = None,
        k_scale: Optional[float] = None,
        v_scale: Optional[float] = None,
        return_lse: bool = False,
        use_fp16_qk_reduction: bool = False,
        enable_pdl: Optional[bool] = None,
    ) -> tuple[Part, Part]:
        """The results of prefill and of decode, each with its lse where that is asked for. A mask of prefill that is
        another than in the last run is planned first."""
        mask = (custom_mask_p, packed_custom_mask_p, causal_p)
        if any(a is not b for a, b in zip(mask, self._mask)):
            arguments, common = self._arguments
            masked: dict[str, Any] = {"custom_mask": custom_mask_p, "packed_custom_mask": packed_custom_mask_p, "causal": causal_p}
            self._prefill.plan(*arguments, **masked, **common)  # type: ignore[misc]
            self._mask = mask
        scales: dict[str, Any] = {"q_scale": scale(q_scale), "k_scale": scale(k_scale), "v_scale": scale(v_scale)}
        return (
            self._prefill.run(q_p, paged_kv_cache_p, return_lse=return_lse, **scales),
            self._decode.run(q_d, paged_kv_cache_d, return_lse=return_lse, **scales),
        )

    def end_forward(self) -> None:
        """Nothing to do; FlashInfer's old name."""
