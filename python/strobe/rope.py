"""Rotary position embedding (Su et al., RoFormer, 2021) of queries and keys.

Pair i of a head's first `rotary_dim` elements turns by position * frequency(i):

    out[a] = x[a] cos - x[b] sin        interleave=False:  a = i,   b = i + rotary_dim / 2
    out[b] = x[b] cos + x[a] sin        interleave=True:   a = 2 i, b = 2 i + 1

with frequency(i) = rope_theta^(-2 i / rotary_dim) / rope_scale; the llama31 functions divide low frequencies only, by
Llama 3.1's rule. Elements from `rotary_dim` on are copied. `q` is [nnz, num_qo_heads, head_dim] in f32, f16 or bf16,
`k` is [nnz, num_kv_heads, head_dim] of its dtype, both with any strides but the innermost. Angles are exact to about
1e-7 at any position.

Positions come as `indptr` and `offsets` (token t of request r has position offsets[r] + t - indptr[r]; both int32), as
`pos_ids` (int32 or int64), or with a table of cosines and sines.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from ._errors import unsupported
from ._frameworks import framework_of
from ._native import Calls

Tensor = Any

_RAGGED = "q, k, indptr, offsets, q_out, k_out, rotary_dim, interleave, rope_scale, rope_theta"
_POS_IDS = "q, k, pos_ids, q_out, k_out, rotary_dim, interleave, rope_scale, rope_theta"
_LLAMA31 = "llama31, low_freq_factor, high_freq_factor, old_context_len"

_calls = Calls(
    rope=f"apply_rope({_RAGGED})",
    rope_pos_ids=f"apply_rope_pos_ids({_POS_IDS})",
    llama31_rope=f"apply_rope({_RAGGED}, {_LLAMA31})",
    llama31_rope_pos_ids=f"apply_rope_pos_ids({_POS_IDS}, {_LLAMA31})",
    rope_with_cos_sin_cache="apply_rope_with_cos_sin_cache(q, k, positions, cos_sin_cache, q_out, k_out, interleave)",
)


def _to_new(call: Callable[[Tensor, Tensor], None], name: str, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    framework = framework_of(q, f"{name}: q")
    q_out = framework.empty_like(q)
    k_out = framework_of(k, f"{name}: k").empty_like(k)
    call(q_out, k_out)
    return framework.result(q_out), framework.result(k_out)


def apply_rope(
    q: Tensor,
    k: Tensor,
    indptr: Tensor,
    offsets: Tensor,
    rotary_dim: Optional[int] = None,
    interleave: bool = False,
    rope_scale: float = 1,
    rope_theta: float = 1e4,
) -> tuple[Tensor, Tensor]:
    """Turned copies of `q` and `k`; positions from `indptr` and `offsets`.

    >>> import numpy as np
    >>> q = np.float32([[[1, 0]], [[1, 0]]])
    >>> q_out, k_out = apply_rope(q, q, np.int32([0, 2]), np.int32([0]))
    >>> print(q_out[:, 0].round(4))
    [[1.     0.    ]
     [0.5403 0.8415]]
    """
    return _to_new(
        lambda q_out, k_out: _calls.rope(
            q, k, indptr, offsets, q_out, k_out, rotary_dim or 0, interleave, rope_scale, rope_theta
        ),
        "apply_rope",
        q,
        k,
    )


def apply_rope_inplace(
    q: Tensor,
    k: Tensor,
    indptr: Tensor,
    offsets: Tensor,
    rotary_dim: Optional[int] = None,
    interleave: bool = False,
    rope_scale: float = 1,
    rope_theta: float = 1e4,
) -> None:
    """`apply_rope`, writing to `q` and `k`."""
    _calls.rope(q, k, indptr, offsets, q, k, rotary_dim or 0, interleave, rope_scale, rope_theta)


def apply_rope_pos_ids(
    q: Tensor,
    k: Tensor,
    pos_ids: Tensor,
    rotary_dim: Optional[int] = None,
    interleave: bool = False,
    rope_scale: float = 1,
    rope_theta: float = 1e4,
) -> tuple[Tensor, Tensor]:
    """Turned copies of `q` and `k`; token t has position pos_ids[t].

    >>> import numpy as np
    >>> q = np.float32([[[1, 0]]])
    >>> print(apply_rope_pos_ids(q, q, np.int32([2]))[0].round(4))
    [[[-0.4161  0.9093]]]
    """
    return _to_new(
        lambda q_out, k_out: _calls.rope_pos_ids(
            q, k, pos_ids, q_out, k_out, rotary_dim or 0, interleave, rope_scale, rope_theta
        ),
        "apply_rope_pos_ids",
        q,
        k,
    )


def apply_rope_pos_ids_inplace(
    q: Tensor,
    k: Tensor,
    pos_ids: Tensor,
    rotary_dim: Optional[int] = None,
    interleave: bool = False,
    rope_scale: float = 1,
    rope_theta: float = 1e4,
) -> None:
    """`apply_rope_pos_ids`, writing to `q` and `k`."""
    _calls.rope_pos_ids(q, k, pos_ids, q, k, rotary_dim or 0, interleave, rope_scale, rope_theta)


def apply_llama31_rope(
    q: Tensor,
    k: Tensor,
    indptr: Tensor,
    offsets: Tensor,
    rotary_dim: Optional[int] = None,
    interleave: bool = False,
    rope_scale: float = 8,
    rope_theta: float = 5e5,
    low_freq_factor: float = 1,
    high_freq_factor: float = 4,
    old_context_len: int = 8192,
) -> tuple[Tensor, Tensor]:
    """`apply_rope` with the frequencies of Llama 3.1.

    With f = rope_theta^(-2 i / rotary_dim):
    smooth = clamp((old_context_len * f / (2 pi) - low_freq_factor) / (high_freq_factor - low_freq_factor), 0, 1);
    frequency(i) = smooth * f + (1 - smooth) * f / rope_scale.
    """
    return _to_new(
        lambda q_out, k_out: _calls.llama31_rope(
            q, k, indptr, offsets, q_out, k_out, rotary_dim or 0, interleave, rope_scale, rope_theta, True,
            low_freq_factor, high_freq_factor, old_context_len,
        ),
        "apply_rope",
        q,
        k,
    )  # fmt: skip


def apply_llama31_rope_inplace(
    q: Tensor,
    k: Tensor,
    indptr: Tensor,
    offsets: Tensor,
    rotary_dim: Optional[int] = None,
    interleave: bool = False,
    rope_scale: float = 8,
    rope_theta: float = 5e5,
    low_freq_factor: float = 1,
    high_freq_factor: float = 4,
    old_context_len: int = 8192,
) -> None:
    """`apply_llama31_rope`, writing to `q` and `k`."""
    _calls.llama31_rope(
        q, k, indptr, offsets, q, k, rotary_dim or 0, interleave, rope_scale, rope_theta, True, low_freq_factor,
        high_freq_factor, old_context_len,
    )  # fmt: skip


def apply_llama31_rope_pos_ids(
    q: Tensor,
    k: Tensor,
    pos_ids: Tensor,
    rotary_dim: Optional[int] = None,
    interleave: bool = False,
    rope_scale: float = 8,
    rope_theta: float = 5e5,
    low_freq_factor: float = 1,
    high_freq_factor: float = 4,
    old_context_len: int = 8192,
) -> tuple[Tensor, Tensor]:
    """`apply_rope_pos_ids` with the frequencies of Llama 3.1 (see `apply_llama31_rope`)."""
    return _to_new(
        lambda q_out, k_out: _calls.llama31_rope_pos_ids(
            q, k, pos_ids, q_out, k_out, rotary_dim or 0, interleave, rope_scale, rope_theta, True, low_freq_factor,
            high_freq_factor, old_context_len,
        ),
        "apply_rope_pos_ids",
        q,
        k,
    )  # fmt: skip


def apply_llama31_rope_pos_ids_inplace(
    q: Tensor,
    k: Tensor,
    pos_ids: Tensor,
    rotary_dim: Optional[int] = None,
    interleave: bool = False,
    rope_scale: float = 8,
    rope_theta: float = 5e5,
    low_freq_factor: float = 1,
    high_freq_factor: float = 4,
    old_context_len: int = 8192,
) -> None:
    """`apply_llama31_rope_pos_ids`, writing to `q` and `k`."""
    _calls.llama31_rope_pos_ids(
        q, k, pos_ids, q, k, rotary_dim or 0, interleave, rope_scale, rope_theta, True, low_freq_factor,
        high_freq_factor, old_context_len,
    )  # fmt: skip


def _heads(name: str, tensor: Tensor, head_size: int) -> Tensor:
    """[nnz, heads * head_size] seen as [nnz, heads, head_size]."""
    shape: Any = getattr(tensor, "shape", ())
    if len(shape) != 2 or head_size < 1 or shape[1] % head_size != 0:
        raise ValueError(
            f"apply_rope_with_cos_sin_cache: {name}: expected shape [nnz, heads * head_size = heads * {head_size}], "
            f"got {list(shape)}"
        )
    return tensor.reshape(shape[0], shape[1] // head_size, head_size)


def apply_rope_with_cos_sin_cache(
    positions: Tensor, query: Tensor, key: Tensor, head_size: int, cos_sin_cache: Tensor, is_neox: bool = True
) -> tuple[Tensor, Tensor]:
    """Turned copies of `query` and `key`, [nnz, heads * head_size], by the cosines and sines of a table.

    Row positions[t] of `cos_sin_cache`, f32 [max_position, rotary_dim], holds rotary_dim / 2 cosines and then as many
    sines. is_neox=True pairs i with i + rotary_dim / 2, False pairs 2 i with 2 i + 1.

    >>> import numpy as np
    >>> quarter_turn = np.float32([[1, 0], [0, 1]])
    >>> q = np.float32([[1, 0]])
    >>> apply_rope_with_cos_sin_cache(np.int64([1]), q, q, 2, quarter_turn)[0].tolist()
    [[0.0, 1.0]]
    """
    framework = framework_of(query, "apply_rope_with_cos_sin_cache: q")
    q, k = _heads("query", query, head_size), _heads("key", key, head_size)
    q_out, k_out = framework.empty(query.shape, query), framework.empty(key.shape, key)
    _calls.rope_with_cos_sin_cache(
        q, k, positions, cos_sin_cache, q_out.reshape(q.shape), k_out.reshape(k.shape), not is_neox
    )
    return framework.result(q_out), framework.result(k_out)


def apply_rope_with_cos_sin_cache_inplace(
    positions: Tensor, query: Tensor, key: Tensor, head_size: int, cos_sin_cache: Tensor, is_neox: bool = True
) -> None:
    """`apply_rope_with_cos_sin_cache`, writing to `query` and `key`."""
    q, k = _heads("query", query, head_size), _heads("key", key, head_size)
    _calls.rope_with_cos_sin_cache(q, k, positions, cos_sin_cache, q, k, not is_neox)


mla_rope_quantize_fp8 = unsupported("strobe.rope.mla_rope_quantize_fp8")
rope_quantize_fp8 = unsupported("strobe.rope.rope_quantize_fp8")
rope_quantize_fp8_append_paged_kv_cache = unsupported("strobe.rope.rope_quantize_fp8_append_paged_kv_cache")
