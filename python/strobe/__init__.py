"""Strobe: kernels for large-language-model inference on CPUs and NVIDIA GPUs, for tensors of any framework.

The functions have the names, arguments and behaviour of FlashInfer's. Tensors may be torch's, numpy's (with
ml_dtypes for bf16 and fp8), jax's, cupy's or anything else that speaks DLPack; results come back in the kind that
came. `strobe.ops` has every operator of the library in its own terms.
"""

from __future__ import annotations

import os
import sys

from . import (
    activation, attention, cascade, decode, logits, logits_processor, norm, ops, page, pod, prefill, quantization, rope,
    sampling, sparse, speculative, topk,
)  # fmt: skip
from ._errors import Unsupported
from .activation import gelu_and_mul, gelu_tanh_and_mul, silu_and_mul
from .attention import BatchAttention, BatchAttentionWithAttentionSinkWrapper
from .cascade import (
    BatchDecodeWithSharedPrefixPagedKVCacheWrapper,
    BatchPrefillWithSharedPrefixPagedKVCacheWrapper,
    MultiLevelCascadeAttentionWrapper,
    merge_state,
    merge_state_in_place,
    merge_states,
)
from .decode import (
    BatchDecodeWithPagedKVCacheWrapper,
    CUDAGraphBatchDecodeWithPagedKVCacheWrapper,
    fast_decode_plan,
    single_decode_with_kv_cache,
    single_decode_with_kv_cache_with_jit_module,
)
from .logits import apply_penalties, apply_token_bitmask
from .norm import (
    fused_add_rmsnorm,
    fused_add_rmsnorm_quant,
    gemma_fused_add_rmsnorm,
    gemma_rmsnorm,
    layernorm,
    layernorm_quant,
    rmsnorm,
    rmsnorm_quant,
)
from .page import append_paged_kv_cache, append_paged_mla_kv_cache, get_batch_indices_positions, get_seq_lens
from .pod import BatchPODWithPagedKVCacheWrapper, PODWithPagedKVCacheWrapper
from .prefill import (
    BatchPrefillWithPagedKVCacheWrapper,
    BatchPrefillWithRaggedKVCacheWrapper,
    single_prefill_with_kv_cache,
    single_prefill_with_kv_cache_return_lse,
    single_prefill_with_kv_cache_with_jit_module,
)
from .quantization import packbits, segment_packbits
from .rope import (
    apply_llama31_rope,
    apply_llama31_rope_inplace,
    apply_llama31_rope_pos_ids,
    apply_llama31_rope_pos_ids_inplace,
    apply_rope,
    apply_rope_inplace,
    apply_rope_pos_ids,
    apply_rope_pos_ids_inplace,
    apply_rope_with_cos_sin_cache,
    apply_rope_with_cos_sin_cache_inplace,
)
from .sampling import (
    chain_speculative_sampling,
    min_p_sampling_from_probs,
    sampling_from_logits,
    sampling_from_probs,
    softmax,
    top_k_mask_logits,
    top_k_renorm_probs,
    top_k_sampling_from_probs,
    top_k_top_p_sampling_from_logits,
    top_k_top_p_sampling_from_probs,
    top_p_renorm_probs,
    top_p_sampling_from_probs,
)
from .sparse import BlockSparseAttentionWrapper, VariableBlockSparseAttentionWrapper
from .speculative import tree_speculative_sampling, verify_tree_greedy
from .topk import TopKTieBreak, top_k, top_k_page_table_transform, top_k_ragged_transform

__version__ = "0.1.0"


def _is_command() -> bool:
    """Whether this process is `strobe` or `python -m strobe…`, which calls no operators itself."""
    words = getattr(sys, "orig_argv", [])
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    return module.split(".")[0] == "strobe" or os.path.basename(sys.argv[0] if sys.argv else "") == "strobe"


if os.environ.get("STROBE_ENABLE_APPLY", os.environ.get("FIB_ENABLE_APPLY")) == "1" and not _is_command():
    from .apply import enable_apply as _enable_apply

    _enable_apply()
if os.environ.get("STROBE_ENABLE_TRACING", os.environ.get("FIB_ENABLE_TRACING")) == "1" and not _is_command():
    from .tracing import enable_tracing as _enable_tracing

    _enable_tracing()
