"""Merging attention states, and attention of requests that share prefixes.

A state is the output v of attention over part of the keys with its base-2 log-sum-exp s (f32). The merge of states is
the state over all their keys:

    m = max_i s_i,  w_i = 2^(s_i - m):   v = sum_i w_i v_i / sum_i w_i,   s = m + log2(sum_i w_i)
"""

from __future__ import annotations

from typing import Any, Optional

from ._frameworks import framework_of
from ._native import Calls

Tensor = Any

_calls = Calls(
    merge_state="merge_state(v_a, s_a, v_b, s_b, v, s)",
    merge_state_in_place="merge_state_in_place(v, s, v_other, s_other, mask)",
    merge_states="merge_states(v, s, v_merged, s_merged)",
)


def merge_state(v_a: Tensor, s_a: Tensor, v_b: Tensor, s_b: Tensor) -> tuple[Tensor, Tensor]:
    """The merge of two states.

    Args:
        v_a, v_b: [num_tokens, num_heads, head_dim], f32, f16 or bf16.
        s_a, s_b: [num_tokens, num_heads], f32, base 2. A state of -inf is empty.

    Returns:
        v and s of both.

    >>> import numpy as np
    >>> one, zero = np.ones((1, 1, 2), np.float32), np.zeros((1, 1), np.float32)
    >>> v, s = merge_state(one, zero, 3 * one, zero)
    >>> v.tolist(), s.tolist()
    ([[[2.0, 2.0]]], [[1.0]])
    """
    framework = framework_of(v_a, "merge_state: v_a")
    v = framework.empty(v_a.shape, v_a)
    s = framework.empty(v_a.shape[:2], v_a, "f32")
    _calls.merge_state(v_a, s_a, v_b, s_b, v, s)
    return framework.result(v), framework.result(s)


def merge_state_in_place(
    v: Tensor, s: Tensor, v_other: Tensor, s_other: Tensor, mask: Optional[Tensor] = None
) -> None:
    """Merges another state into `v` and `s`; only for tokens where `mask`, bool [num_tokens], is true."""
    _calls.merge_state_in_place(v, s, v_other, s_other, mask)


def merge_states(v: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """The merge of num_states states: `v` [num_tokens, num_states, num_heads, head_dim], `s` without head_dim.

    >>> import numpy as np
    >>> v = np.float32([1, 3]).reshape(1, 2, 1, 1)
    >>> merged, s = merge_states(v, np.float32([[[0], [-np.inf]]]))
    >>> merged.tolist(), s.tolist()
    ([[[1.0]]], [[0.0]])
    """
    framework = framework_of(v, "merge_states: v")
    tokens, _, heads, head_dim = v.shape
    v_merged = framework.empty((tokens, heads, head_dim), v)
    s_merged = framework.empty((tokens, heads), v, "f32")
    _calls.merge_states(v, s, v_merged, s_merged)
    return framework.result(v_merged), framework.result(s_merged)
