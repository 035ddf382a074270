"""Strobe's operators as torch custom operators, so that torch.compile keeps them in its graphs.

    import strobe.torch
    y = torch.ops.strobe.rmsnorm(x, w, 1e-6)      # or strobe.torch.rmsnorm(x, w, 1e-6)

They compute what the functions of the same names in `strobe` compute. Outside of torch.compile those are faster:
torch's dispatcher adds several microseconds to a call.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch
from torch import Tensor

from . import activation, cascade, norm, page, prefill, rope
from . import decode as _decode


def _operator(function: Callable[..., Any], name: str, schema: str, mutates: tuple[str, ...] = ()) -> Any:
    return torch.library.custom_op(f"strobe::{name}", function, mutates_args=mutates, schema=schema)


def _in_place(module: Any, name: str, schema: str, *mutates: str) -> Any:
    function = getattr(module, name)

    def call(*args: Any) -> None:
        function(*args)

    operator = _operator(call, name, schema, mutates)
    operator.register_fake(lambda *args, **kwargs: None)
    return operator


def _like_first(module: Any, name: str, schema: str) -> Any:
    function = getattr(module, name)
    operator = _operator(lambda *args: function(*args), name, schema)
    operator.register_fake(lambda input, *args, **kwargs: torch.empty_like(input))
    return operator


_NORM = "(Tensor input, Tensor weight, float eps=1e-6) -> Tensor"
_ADD_NORM = "(Tensor(a!) input, Tensor(b!) residual, Tensor weight, float eps=1e-6) -> ()"

rmsnorm = _like_first(norm, "rmsnorm", _NORM)
gemma_rmsnorm = _like_first(norm, "gemma_rmsnorm", _NORM)
layernorm = _like_first(norm, "layernorm", "(Tensor input, Tensor gemma, Tensor beta, float eps=1e-6) -> Tensor")
fused_add_rmsnorm = _in_place(norm, "fused_add_rmsnorm", _ADD_NORM, "input", "residual")
gemma_fused_add_rmsnorm = _in_place(norm, "gemma_fused_add_rmsnorm", _ADD_NORM, "input", "residual")


def _gated(name: str) -> Any:
    function = getattr(activation, name)
    operator = _operator(lambda input: function(input), name, "(Tensor input) -> Tensor")
    operator.register_fake(lambda input: input.new_empty(*input.shape[:-1], input.shape[-1] // 2))
    return operator


silu_and_mul = _gated("silu_and_mul")
gelu_and_mul = _gated("gelu_and_mul")
gelu_tanh_and_mul = _gated("gelu_tanh_and_mul")


def _pair_like_first_two(module: Any, name: str, schema: str) -> Any:
    function = getattr(module, name)
    operator = _operator(lambda *args: function(*args), name, schema)
    operator.register_fake(lambda q, k, *args, **kwargs: (torch.empty_like(q), torch.empty_like(k)))
    return operator


_ROPE = "Tensor pos_ids, int? rotary_dim=None, bool interleave=False, float rope_scale=1.0, float rope_theta=10000.0"
_LLAMA31 = (
    "Tensor pos_ids, int? rotary_dim=None, bool interleave=False, float rope_scale=8.0, float rope_theta=500000.0, "
    "float low_freq_factor=1.0, float high_freq_factor=4.0, int old_context_len=8192"
)
apply_rope_pos_ids = _pair_like_first_two(
    rope, "apply_rope_pos_ids", f"(Tensor q, Tensor k, {_ROPE}) -> (Tensor, Tensor)"
)
apply_rope_pos_ids_inplace = _in_place(
    rope, "apply_rope_pos_ids_inplace", f"(Tensor(a!) q, Tensor(b!) k, {_ROPE}) -> ()", "q", "k"
)
apply_llama31_rope_pos_ids = _pair_like_first_two(
    rope, "apply_llama31_rope_pos_ids", f"(Tensor q, Tensor k, {_LLAMA31}) -> (Tensor, Tensor)"
)
apply_llama31_rope_pos_ids_inplace = _in_place(
    rope, "apply_llama31_rope_pos_ids_inplace", f"(Tensor(a!) q, Tensor(b!) k, {_LLAMA31}) -> ()", "q", "k"
)
apply_rope_with_cos_sin_cache_inplace = _in_place(
    rope,
    "apply_rope_with_cos_sin_cache_inplace",
    "(Tensor positions, Tensor(a!) query, Tensor(b!) key, int head_size, Tensor cos_sin_cache, bool is_neox=True) -> ()",
    "query",
    "key",
)

merge_state = _operator(
    lambda *args: cascade.merge_state(*args),
    "merge_state",
    "(Tensor v_a, Tensor s_a, Tensor v_b, Tensor s_b) -> (Tensor, Tensor)",
)
merge_state.register_fake(lambda v_a, s_a, v_b, s_b: (torch.empty_like(v_a), torch.empty_like(s_a)))

append_paged_kv_cache = _operator(
    lambda key, value, batch, positions, k_cache, v_cache, *rest: page.append_paged_kv_cache(
        key, value, batch, positions, (k_cache, v_cache), *rest
    ),
    "append_paged_kv_cache",
    "(Tensor append_key, Tensor append_value, Tensor batch_indices, Tensor positions, Tensor(a!) k_cache, "
    "Tensor(b!) v_cache, Tensor kv_indices, Tensor kv_indptr, Tensor kv_last_page_len, str kv_layout='NHD') -> ()",
    ("k_cache", "v_cache"),
)
append_paged_kv_cache.register_fake(lambda *args, **kwargs: None)


def _prefill(
    q: Tensor, k: Tensor, v: Tensor, causal: bool = False, kv_layout: str = "NHD", sm_scale: Optional[float] = None
) -> Tensor:
    out: Tensor = prefill.single_prefill_with_kv_cache(
        q, k, v, causal=causal, kv_layout=kv_layout, sm_scale=sm_scale
    )  # type: ignore[assignment]
    return out


single_prefill_with_kv_cache = _operator(
    _prefill,
    "single_prefill_with_kv_cache",
    "(Tensor q, Tensor k, Tensor v, bool causal=False, str kv_layout='NHD', float? sm_scale=None) -> Tensor",
)
single_prefill_with_kv_cache.register_fake(
    lambda q, k, v, *args, **kwargs: q.new_empty(q.shape[0], q.shape[1], v.shape[-1])
)


def _decode_one(
    q: Tensor, k: Tensor, v: Tensor, kv_layout: str = "NHD", sm_scale: Optional[float] = None
) -> Tensor:
    out: Tensor = _decode.single_decode_with_kv_cache(q, k, v, kv_layout, sm_scale=sm_scale)  # type: ignore[assignment]
    return out


single_decode_with_kv_cache = _operator(
    _decode_one,
    "single_decode_with_kv_cache",
    "(Tensor q, Tensor k, Tensor v, str kv_layout='NHD', float? sm_scale=None) -> Tensor",
)
single_decode_with_kv_cache.register_fake(lambda q, k, v, *args, **kwargs: q.new_empty(q.shape[0], v.shape[-1]))
