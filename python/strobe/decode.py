"""Attention of one new token per request: a single request, and batches over a paged KV cache.

For the query q[h] at position kv_len - 1, which reads KV head h // (num_qo_heads // num_kv_heads):

    x[j] = q[h] . k[j] * sm_scale * q_scale * k_scale, then ALiBi, then logits_soft_cap * tanh(x / logits_soft_cap)
    out  = v_scale * sum_j exp(x[j]) v[j] / sum_j exp(x[j])         lse = log2(sum_j exp(x[j])), f32

over the j that a sliding window lets through (j >= kv_len - 1 - window_left). `q` is f32, f16 or bf16; `k` and `v`
have its dtype, e4m3 or e5m2. Head dimensions are multiples of 8 up to 512; any number of query heads per KV head.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from ._attention import BatchWrapper, dtypes, options, out_dtype, refuse
from ._errors import unsupported, unsupported_class
from ._frameworks import framework_of
from ._kv import check_layout
from ._native import Calls

Tensor = Any
Result = Union[Tensor, tuple[Tensor, Tensor]]

_calls = Calls(
    single_decode="single_decode(q, k, v, out, lse, kv_layout, pos_encoding, window_left, logits_soft_cap, sm_scale, "
    "rope_scale, rope_theta, q_scale, k_scale, v_scale)"
)


def single_decode_with_kv_cache(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kv_layout: str = "NHD",
    pos_encoding_mode: str = "NONE",
    use_tensor_cores: bool = False,
    q_scale: Optional[float] = None,
    k_scale: Optional[float] = None,
    v_scale: Optional[float] = None,
    window_left: int = -1,
    logits_soft_cap: Optional[float] = None,
    sm_scale: Optional[float] = None,
    rope_scale: Optional[float] = None,
    rope_theta: Optional[float] = None,
    return_lse: bool = False,
    *,
    out: Optional[Tensor] = None,
    lse: Optional[Tensor] = None,
) -> Result:
    """One query token attends to the KV of one request.

    Args:
        q: [num_qo_heads, head_dim].
        k, v: [kv_len, num_kv_heads, head_dim] (HND: [num_kv_heads, kv_len, head_dim]).
        pos_encoding_mode: NONE, ROPE_LLAMA (turns q and k on the fly) or ALIBI.
        use_tensor_cores: taken for FlashInfer's sake; Strobe chooses by itself.
        sm_scale: 1 / sqrt(head_dim) when it is left away.
        out, lse: receive the results; made when they are left away.

    Returns:
        out [num_qo_heads, head_dim]; with return_lse also lse [num_qo_heads], f32.

    >>> import numpy as np
    >>> q, k = np.zeros((4, 8), np.float32), np.zeros((3, 2, 8), np.float32)
    >>> v = np.float32([1, 2, 6]).reshape(3, 1, 1) * np.ones((3, 2, 8), np.float32)
    >>> out, lse = single_decode_with_kv_cache(q, k, v, return_lse=True)
    >>> print(out[:, 0], lse.round(4))
    [3. 3. 3. 3.] [1.585 1.585 1.585 1.585]
    """
    framework = framework_of(q, "single_decode: q")
    if out is None:
        out = framework.empty((q.shape[0], v.shape[-1]), q)
    if return_lse and lse is None:
        lse = framework.empty((q.shape[0],), q, "f32")
    o = options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta)
    _calls.single_decode(
        q, k, v, out, lse, check_layout(kv_layout), o["pos_encoding"], o["window_left"], o["logits_soft_cap"],
        o["sm_scale"], o["rope_scale"], o["rope_theta"], q_scale, k_scale, v_scale,
    )  # fmt: skip
    return (framework.result(out), framework.result(lse)) if return_lse else framework.result(out)


class BatchDecodeWithPagedKVCacheWrapper(BatchWrapper):
    """Decode of a batch of requests over a paged KV cache.

    >>> import numpy as np
    >>> wrapper = BatchDecodeWithPagedKVCacheWrapper(np.empty(1, np.uint8))
    >>> i32 = np.int32
    >>> wrapper.plan(i32([0, 2, 3]), i32([4, 0, 2]), i32([1, 16]), 8, 2, 64, page_size=16, q_data_type="float32")
    >>> q, cache = np.zeros((2, 8, 64), np.float32), np.ones((5, 2, 16, 2, 64), np.float32)
    >>> out, lse = wrapper.run(q, cache, return_lse=True)
    >>> print(out.mean(), lse[:, 0].round(4))
    1.0 [4.0875 4.    ]

    Args:
        float_workspace_buffer: says by its device where the tensors will be; Strobe's plans have memory of their own,
            as much as they need. None: on the CPU.
        kv_layout: NHD or HND.
        use_cuda_graph: `run` will be captured; index buffers must be given, and their sizes are the batch's.
        use_tensor_cores: taken for FlashInfer's sake; Strobe chooses by itself.
        backend: auto, fa2 (cuda/sm80), fa3 (cuda/sm90), or Strobe's own names.
    """

    def __init__(
        self,
        float_workspace_buffer: Optional[Tensor],
        kv_layout: str = "NHD",
        use_cuda_graph: bool = False,
        use_tensor_cores: bool = False,
        paged_kv_indptr_buffer: Optional[Tensor] = None,
        paged_kv_indices_buffer: Optional[Tensor] = None,
        paged_kv_last_page_len_buffer: Optional[Tensor] = None,
        backend: str = "auto",
        jit_args: Optional[list[Any]] = None,
    ) -> None:
        super().__init__(float_workspace_buffer, kv_layout, backend, jit_args)
        self._use_tensor_cores = use_tensor_cores
        self._use_cuda_graph = use_cuda_graph
        self._capacity: dict[str, int] = {}
        if use_cuda_graph:
            for name, buffer in (
                ("paged_kv_indptr_buffer", paged_kv_indptr_buffer),
                ("paged_kv_indices_buffer", paged_kv_indices_buffer),
                ("paged_kv_last_page_len_buffer", paged_kv_last_page_len_buffer),
            ):
                if buffer is None:
                    raise ValueError(f"{type(self).__name__}: {name}: expected one with use_cuda_graph, got nothing")
            self._fixed_batch_size = int(paged_kv_last_page_len_buffer.shape[0])  # type: ignore[union-attr]
            self._max_pages = int(paged_kv_indices_buffer.shape[0])  # type: ignore[union-attr]
        self._paged_kv_indptr_buf = paged_kv_indptr_buffer
        self._paged_kv_indices_buf = paged_kv_indices_buffer
        self._paged_kv_last_page_len_buf = paged_kv_last_page_len_buffer
        self._qo_indptr: Any = None  # of batches of the last size, and that size

    @property
    def use_tensor_cores(self) -> bool:
        return self._use_tensor_cores

    @property
    def is_cuda_graph_enabled(self) -> bool:
        return self._use_cuda_graph

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
        logits_soft_cap: Optional[float] = None,
        q_data_type: Any = None,
        kv_data_type: Any = None,
        o_data_type: Any = None,
        data_type: Any = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
        non_blocking: bool = True,
        block_tables: Optional[Tensor] = None,
        seq_lens: Optional[Tensor] = None,
        fixed_split_size: Optional[int] = None,
        disable_split_kv: bool = False,
        q_len_per_req: int = 1,
    ) -> None:
        """Says who attends to what; runs may follow as often as there are layers.

        Args:
            indptr: int32 [batch_size + 1]: request r has the pages indices[indptr[r]], …, indices[indptr[r + 1] - 1].
            indices: int32 [num_page_indices], page numbers.
            last_page_len: int32 [batch_size], tokens in the last page, 1 to page_size.
            data_type: FlashInfer's old name of both dtypes.
            fixed_split_size, disable_split_kv: a request's bits must not depend on its neighbours; Strobe's
                deterministic plans, whose splits follow from a request's own length.
            q_len_per_req: query tokens of each request, causal among themselves.

        Arrays in host memory are best: plan copies them and waits for nothing. Those on a GPU are read first.
        """
        self._plan_bytes = self._plan_batch(
            indptr, indices, last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size, q_len_per_req,
            *dtypes(q_data_type, kv_data_type, data_type), o_data_type, fixed_split_size, disable_split_kv,
            options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta),
        )  # fmt: skip

    def _plan_batch(
        self,
        indptr: Tensor,
        indices: Tensor,
        last_page_len: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        q_len_per_req: int,
        q_dtype: str,
        kv_dtype: str,
        o_data_type: Any,
        fixed_split_size: Optional[int],
        disable_split_kv: bool,
        attributes: dict[str, Any],
    ) -> int:
        batch_size = int(last_page_len.shape[0])
        if self._use_cuda_graph:
            self._check_fixed_sizes(batch_size, int(indices.shape[0]), page_size, q_len_per_req)
        self._out_dtype = out_dtype(o_data_type, q_dtype)
        if self._qo_indptr is None or self._qo_indptr[0] != (batch_size, q_len_per_req, type(indptr)):
            framework = framework_of(indptr, "batch_attention_paged: kv_indptr")
            made = framework.multiples(q_len_per_req, batch_size + 1, indptr)
            self._qo_indptr = ((batch_size, q_len_per_req, type(indptr)), made)
        given = {
            "qo_indptr": self._qo_indptr[1],
            "kv_indptr": indptr,
            "kv_indices": indices,
            "last_page_len": last_page_len,
            "num_qo_heads": num_qo_heads,
            "num_kv_heads": num_kv_heads,
            "head_dim_qk": head_dim,
            "page_size": page_size,
            "q_dtype": q_dtype,
            "kv_dtype": kv_dtype,
            "mask": "causal" if q_len_per_req > 1 else "none",
            "deterministic": fixed_split_size is not None or disable_split_kv,
            **attributes,
            **self._capacity,
        }
        return self._make_plan(given)

    def _check_fixed_sizes(self, batch_size: int, pages: int, page_size: int, q_len_per_req: int) -> None:
        if batch_size != self._fixed_batch_size:
            raise ValueError(
                f"{type(self).__name__}: last_page_len: expected the batch size {self._fixed_batch_size} of the buffers "
                f"given for CUDA graphs, got {batch_size}"
            )
        if pages > self._max_pages:
            raise ValueError(
                f"{type(self).__name__}: indices: expected at most {self._max_pages} pages, as many as the buffer given "
                f"for CUDA graphs, got {pages}"
            )
        tokens = self._fixed_batch_size * q_len_per_req
        self._capacity = self._graph_capacity(
            self._fixed_batch_size, tokens, q_len_per_req, self._max_pages * page_size
        )

    def workspace_size(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """Bytes that runs of such a plan use, and 0: Strobe needs no second buffer. Arguments as those of `plan`."""
        twin = BatchDecodeWithPagedKVCacheWrapper(self._float_workspace_buffer, self._kv_layout, backend=self._backend)
        twin.plan(*args, **kwargs)
        return twin._plan_bytes, 0

    def run(
        self,
        q: Tensor,
        paged_kv_cache: Any,
        *args: Any,
        q_scale: Optional[float] = None,
        k_scale: Optional[float] = None,
        v_scale: Optional[float] = None,
        out: Optional[Tensor] = None,
        lse: Optional[Tensor] = None,
        return_lse: bool = False,
        enable_pdl: Optional[bool] = None,
        window_left: Optional[int] = None,
        sinks: Optional[Tensor] = None,
        q_len_per_req: Optional[int] = None,
        skip_softmax_threshold_scale_factor: Optional[float] = None,
        kv_cache_sf: Any = None,
    ) -> Result:
        """Attends as planned.

        Args:
            q: [batch_size * q_len_per_req, num_qo_heads, head_dim].
            paged_kv_cache: [num_pages, 2, page_size, num_kv_heads, head_dim] (HND: heads before tokens), or the pair
                of k and v without the 2.
            q_scale, k_scale, v_scale: factors of quantised q, k and v: numbers, or tensors of one, which are read to the
                host.
            window_left: instead of the plan's, at the cost of planning again.
            out, lse: receive the results; made when they are left away.
            sinks: f32 [num_qo_heads], one more logit of each head, without a value.

        Returns:
            out like q; with return_lse also lse, f32 [batch_size * q_len_per_req, num_qo_heads], base 2.
        """
        if kv_cache_sf is not None or skip_softmax_threshold_scale_factor is not None:
            refuse(
                type(self).__name__, kv_cache_sf=kv_cache_sf,
                skip_softmax_threshold_scale_factor=skip_softmax_threshold_scale_factor,
            )  # fmt: skip
        changed = None if window_left is None else {"window_left": window_left}
        return self._run(q, paged_kv_cache, out, lse, return_lse, sinks, q_scale, k_scale, v_scale, args, changed)

    def run_return_lse(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """`run` with return_lse=True."""
        return self.run(*args, **{**kwargs, "return_lse": True})

    begin_forward = plan
    forward_return_lse = run_return_lse

    def forward(
        self,
        q: Tensor,
        paged_kv_cache: Any,
        pos_encoding_mode: str = "NONE",
        q_scale: Optional[float] = None,
        k_scale: Optional[float] = None,
        v_scale: Optional[float] = None,
        window_left: int = -1,
        logits_soft_cap: Optional[float] = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
    ) -> Tensor:
        """FlashInfer's old form, which gives attributes of the plan again."""
        planned = self._check_planned()
        planned.replan(**options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta))
        return self.run(q, paged_kv_cache, q_scale=q_scale, k_scale=k_scale, v_scale=v_scale)


class CUDAGraphBatchDecodeWithPagedKVCacheWrapper(BatchDecodeWithPagedKVCacheWrapper):
    """`BatchDecodeWithPagedKVCacheWrapper` with use_cuda_graph=True; the buffers' sizes are the batch's."""

    def __init__(
        self,
        workspace_buffer: Optional[Tensor],
        indptr_buffer: Tensor,
        indices_buffer: Tensor,
        last_page_len_buffer: Tensor,
        kv_layout: str = "NHD",
        use_tensor_cores: bool = False,
    ) -> None:
        super().__init__(
            workspace_buffer, kv_layout, True, use_tensor_cores, indptr_buffer, indices_buffer, last_page_len_buffer
        )


def fast_decode_plan(
    self: BatchDecodeWithPagedKVCacheWrapper,
    indptr: Tensor,
    indices: Tensor,
    last_page_len: Tensor,
    num_qo_heads: int,
    num_kv_heads: int,
    head_dim: int,
    page_size: int,
    pos_encoding_mode: str = "NONE",
    window_left: int = -1,
    logits_soft_cap: Optional[float] = None,
    q_data_type: Any = None,
    kv_data_type: Any = None,
    data_type: Any = None,
    sm_scale: Optional[float] = None,
    rope_scale: Optional[float] = None,
    rope_theta: Optional[float] = None,
    non_blocking: bool = True,
    fixed_split_size: Optional[int] = None,
    disable_split_kv: bool = False,
    q_len_per_req: int = 1,
    global_override_indptr_cpu: Optional[Tensor] = None,
) -> None:
    """`plan` for engines that put it onto a wrapper; `global_override_indptr_cpu` is `indptr` in host memory."""
    host = indptr if global_override_indptr_cpu is None else global_override_indptr_cpu
    self._plan_bytes = self._plan_batch(
        host, indices, last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size, q_len_per_req,
        *dtypes(q_data_type, kv_data_type, data_type), None, fixed_split_size, disable_split_kv,
        options(pos_encoding_mode, window_left, logits_soft_cap, sm_scale, rope_scale, rope_theta),
    )  # fmt: skip


def single_decode_with_kv_cache_with_jit_module(
    jit_module: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *args: Any,
    kv_layout: str = "NHD",
    window_left: int = -1,
    return_lse: bool = False,
) -> Result:
    """One query token with a variant (strobe.variants): `jit_module` is gen_customize_single_decode_module(…)'s, `args`
    are the variant's tensors and then its scalars."""
    result = jit_module.attend(q[None], k, v, args, kv_layout, 0, window_left, return_lse)
    return (result[0][0], result[1][0]) if return_lse else result[0]


BatchDecodeMlaWithPagedKVCacheWrapper = unsupported_class("strobe.decode.BatchDecodeMlaWithPagedKVCacheWrapper")
cudnn_batch_decode_with_kv_cache = unsupported("strobe.decode.cudnn_batch_decode_with_kv_cache")
trtllm_batch_decode_with_kv_cache = unsupported("strobe.decode.trtllm_batch_decode_with_kv_cache")
xqa_batch_decode_with_kv_cache = unsupported("strobe.decode.xqa_batch_decode_with_kv_cache")
