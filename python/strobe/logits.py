"""What is done to logits before they are sampled: penalties of tokens that a request has seen, and grammars.

`logits` are [batch_size, vocab_size], f32, f16 or bf16. Bit masks are int32 words [rows, ceil(vocab_size / 32) or more]: token j
is bit j % 32 of word j / 32, the lowest first. Masks and counts lie in rows of their own; an index for each row of logits says
which is its, and below 0 that it has none. Results are new tensors, or `out`, which may be `logits` itself.
"""

from __future__ import annotations

from typing import Any, Optional

from ._frameworks import framework_of
from ._native import Calls
from .sampling import _tensor_or_number

Tensor = Any

_calls = Calls(
    bitmask="apply_token_bitmask(logits, out, bitmask, bitmask_indices)",
    penalties="apply_penalties(logits, out, counts, prompt_mask, slots, repetition_penalty_rows, repetition_penalty, "
    "frequency_penalty_rows, frequency_penalty, presence_penalty_rows, presence_penalty, bitmask, bitmask_indices)",
)


def apply_token_bitmask(
    logits: Tensor, bitmask: Tensor, bitmask_indices: Optional[Tensor] = None, out: Optional[Tensor] = None
) -> Tensor:
    """Logits of the tokens whose bit is set, -inf elsewhere. Row i has mask bitmask_indices[i], or mask i.

    >>> import numpy as np
    >>> apply_token_bitmask(np.float32([[1, 2, 3]]), np.int32([[0b101]])).tolist()
    [[1.0, -inf, 3.0]]
    """
    framework = framework_of(logits, "apply_token_bitmask: logits")
    result = framework.empty_like(logits) if out is None else out
    _calls.bitmask(logits, result, bitmask, bitmask_indices)
    return framework.result(result) if out is None else out


def apply_penalties(
    logits: Tensor,
    counts: Tensor,
    prompt_mask: Optional[Tensor] = None,
    slots: Optional[Tensor] = None,
    repetition_penalty: Any = 1.0,
    frequency_penalty: Any = 0.0,
    presence_penalty: Any = 0.0,
    bitmask: Optional[Tensor] = None,
    bitmask_indices: Optional[Tensor] = None,
    out: Optional[Tensor] = None,
) -> Tensor:
    """Logits less what their tokens' past costs them: counts, int32 [num_slots, vocab_size], says how often a request has
    generated a token, prompt_mask which are in its prompt; row i has slot slots[i], or slot i.

    A token of the prompt or of a count above 0 has its logit divided by repetition_penalty where it is above 0, multiplied
    where it is not; then frequency_penalty * count and, of a count above 0, presence_penalty are subtracted. Penalties are
    numbers, or f32 [batch_size]. With `bitmask`, apply_token_bitmask follows in the same pass.

    >>> import numpy as np
    >>> counts = np.int32([[0, 2, 0]])
    >>> apply_penalties(np.float32([[1, 2, 3]]), counts, repetition_penalty=2.0, frequency_penalty=0.25).tolist()
    [[1.0, 0.5, 3.0]]
    """
    framework = framework_of(logits, "apply_penalties: logits")
    result = framework.empty_like(logits) if out is None else out
    penalties = (repetition_penalty, frequency_penalty, presence_penalty)
    rows_and_numbers = [part for penalty in penalties for part in _tensor_or_number(penalty)]
    _calls.penalties(logits, result, counts, prompt_mask, slots, *rows_and_numbers, bitmask, bitmask_indices)
    return framework.result(result) if out is None else out
