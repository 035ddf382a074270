"""Sampling of tokens: softmax, the filters top-k, top-p and min-p, and draws from what they keep.

`probs` and `logits` are [num_rows, vocab_size], f32, f16 or bf16. A draw takes token j with probability
w[j] / sum(w) over the kept tokens, where w are the probabilities rounded to 2^-40, so that sums are exact and no order
of addition changes a result. A filter keeps tokens by value: top_k those of at least the k-th largest value, top_p the
largest that have this part of all weight, min_p those of at least this part of the largest. Each is a number, or a
tensor with one for each row (int32 for top_k, f32 for the others).

Random numbers follow from `seed` and `offset`: numbers, or int64 tensors of one element or one for each row. Left away,
they come from `generator` or torch's default one of the tensor's device for torch tensors, and from Python's `random` otherwise. `deterministic`
is taken for FlashInfer's sake; results always are.

A row is bad when a probability is NaN, negative or above 2, a logit NaN or +inf, or all weights are 0. Its sample is 0
and its `valid` is False.
"""

from __future__ import annotations

import random
import sys
from typing import Any, Optional, Union

from ._dtypes import dtype_name
from ._frameworks import Framework, Torch, find_framework, framework_of
from ._native import Calls

Tensor = Any
Number = Union[float, int]

_DRAW = (
    "samples, valid, indices, seeds, offsets, seed, offset, top_k_rows, top_k, top_p_rows, top_p, min_p_rows, min_p, joint"
)
_calls = Calls(
    from_probs=f"sampling_from_probs(probs, {_DRAW})",
    from_logits=f"sampling_from_logits(logits, {_DRAW}, temperature_rows, temperature)",
    softmax="softmax(logits, probs, temperature_rows, temperature)",
    renorm="renorm_probs(probs, out, top_k_rows, top_k, top_p_rows, top_p)",
    mask="mask_logits(logits, out, top_k_rows, top_k)",
    chain="chain_speculative_sampling(draft_probs, draft_token_ids, target_probs, output_token_ids, accepted, emitted, "
    "accumulate, seeds, offsets, seed, offset)",
)

_MOST_SEED = 1 << 53


def _tensor_or_number(value: Any) -> tuple[Optional[Tensor], Optional[Number]]:
    if value is None or type(value) in (int, float) or find_framework(value) is None:
        return None, value
    return value, None


def _next_of_gpu(generator: Any) -> tuple[int, int]:
    offset = generator.get_offset()
    generator.set_offset(offset + 4)  # as many as one Philox block has
    return generator.initial_seed() % _MOST_SEED, offset


def _draw_seed(framework: Framework, generator: Any, values: Tensor) -> tuple[int, int]:
    """A seed and offset that no other call gets from the same generator. Nothing on the GPU is waited for."""
    if not isinstance(framework, Torch):
        return random.getrandbits(53), 0
    torch = sys.modules["torch"]
    if generator is None and values.is_cuda:
        try:
            return _next_of_gpu(torch.cuda.default_generators[values.get_device()])
        except RuntimeError:  # a graph is being captured: the draw becomes a part of it
            pass
    elif generator is not None and generator.device.type != "cpu":
        return _next_of_gpu(generator)
    return int(torch.randint(_MOST_SEED, (), generator=generator)), 0


def _sample(
    name: str,
    values: Tensor,
    indices: Optional[Tensor],
    generator: Any,
    check_nan: bool,
    seed: Any,
    offset: Any,
    return_valid: bool,
    top_k: Any = None,
    top_p: Any = None,
    min_p: Any = None,
    joint: bool = False,
    temperature: Any = None,
) -> Any:
    from_logits = name.endswith("logits")
    framework = find_framework(values) or framework_of(values, f"{name}: {'logits' if from_logits else 'probs'}")
    if indices is None:
        samples = framework.empty((values.shape[0],), values, "i32")
    else:
        samples = framework.empty((indices.shape[0],), values, dtype_name(indices.dtype))
    valid = framework.empty(samples.shape, values, "bool") if return_valid or check_nan else None
    if seed is None:
        seed, offset = _draw_seed(framework, generator, values)
    seeds, seed = _tensor_or_number(seed)
    offsets, offset = _tensor_or_number(offset)
    filters: tuple[Any, ...] = ()
    if not (top_k is top_p is min_p is temperature is None):
        filters = (*_tensor_or_number(top_k), *_tensor_or_number(top_p), *_tensor_or_number(min_p), joint)
    if temperature is not None:
        filters += _tensor_or_number(temperature)
    call = _calls.from_logits if from_logits else _calls.from_probs
    call(values, samples, valid, indices, seeds, offsets, seed, offset, *filters)
    if check_nan and valid is not None and not bool(valid.all()):  # waits for the device
        raise ValueError(f"{name}: expected rows of finite values that are not negative, got rows that are not (NaN?)")
    return (framework.result(samples), framework.result(valid)) if return_valid else framework.result(samples)


def sampling_from_probs(
    probs: Tensor,
    indices: Optional[Tensor] = None,
    deterministic: bool = True,
    generator: Any = None,
    check_nan: bool = False,
    seed: Any = None,
    offset: Any = None,
    return_valid: bool = False,
) -> Any:
    """One token of each row; with `indices`, int32 [batch_size], sample i is of row indices[i].

    Returns int32 [batch_size]; with return_valid also bool [batch_size].

    >>> import numpy as np
    >>> sampling_from_probs(np.float32([[0, 1, 0], [0, 0, 1]]), seed=1, offset=0).tolist()
    [1, 2]
    """
    return _sample("sampling_from_probs", probs, indices, generator, check_nan, seed, offset, return_valid)


def sampling_from_logits(
    logits: Tensor,
    indices: Optional[Tensor] = None,
    deterministic: bool = True,
    generator: Any = None,
    check_nan: bool = False,
    seed: Any = None,
    offset: Any = None,
) -> Tensor:
    """`sampling_from_probs` of the softmax of `logits`."""
    return _sample("sampling_from_logits", logits, indices, generator, check_nan, seed, offset, False)


def top_p_sampling_from_probs(
    probs: Tensor,
    top_p: Any,
    indices: Optional[Tensor] = None,
    deterministic: bool = True,
    generator: Any = None,
    check_nan: bool = False,
    seed: Any = None,
    offset: Any = None,
    return_valid: bool = False,
) -> Any:
    """`sampling_from_probs` of the most probable tokens that have `top_p` of the weight (Holtzman et al., 2019)."""
    return _sample(
        "sampling_from_probs", probs, indices, generator, check_nan, seed, offset, return_valid, top_p=top_p
    )


def top_k_sampling_from_probs(
    probs: Tensor,
    top_k: Any,
    indices: Optional[Tensor] = None,
    deterministic: bool = True,
    generator: Any = None,
    check_nan: bool = False,
    seed: Any = None,
    offset: Any = None,
    return_valid: bool = False,
) -> Any:
    """`sampling_from_probs` of the `top_k` most probable tokens (Fan et al., 2018)."""
    return _sample(
        "sampling_from_probs", probs, indices, generator, check_nan, seed, offset, return_valid, top_k=top_k
    )


def min_p_sampling_from_probs(
    probs: Tensor,
    min_p: Any,
    indices: Optional[Tensor] = None,
    deterministic: bool = True,
    generator: Any = None,
    check_nan: bool = False,
    seed: Any = None,
    offset: Any = None,
    return_valid: bool = False,
) -> Any:
    """`sampling_from_probs` of the tokens with at least `min_p` of the largest probability (Nguyen et al., 2024)."""
    return _sample(
        "sampling_from_probs", probs, indices, generator, check_nan, seed, offset, return_valid, min_p=min_p
    )


def _joint(order: str) -> bool:
    if order not in ("top_k_first", "joint"):
        raise ValueError(f"filter_apply_order: expected top_k_first or joint, got {order!r}")
    return order == "joint"


def top_k_top_p_sampling_from_probs(
    probs: Tensor,
    top_k: Any,
    top_p: Any,
    indices: Optional[Tensor] = None,
    filter_apply_order: str = "top_k_first",
    deterministic: bool = True,
    generator: Any = None,
    check_nan: bool = False,
    seed: Any = None,
    offset: Any = None,
    return_valid: bool = False,
) -> Any:
    """Both filters: top_p of what top_k has kept ("top_k_first"), or of the whole row ("joint")."""
    return _sample(
        "sampling_from_probs", probs, indices, generator, check_nan, seed, offset, return_valid, top_k, top_p,
        joint=_joint(filter_apply_order),
    )  # fmt: skip


def top_k_top_p_sampling_from_logits(
    logits: Tensor,
    top_k: Any,
    top_p: Any,
    indices: Optional[Tensor] = None,
    filter_apply_order: str = "top_k_first",
    deterministic: bool = True,
    generator: Any = None,
    check_nan: bool = False,
    seed: Any = None,
    offset: Any = None,
) -> Tensor:
    """`top_k_top_p_sampling_from_probs` of the softmax of `logits`."""
    return _sample(
        "sampling_from_logits", logits, indices, generator, check_nan, seed, offset, False, top_k, top_p,
        joint=_joint(filter_apply_order),
    )  # fmt: skip


def softmax(logits: Tensor, temperature: Any = None, enable_pdl: Optional[bool] = None) -> Tensor:
    """exp(logits / temperature) of each row over their sum, f32. `temperature` is a number or f32 [batch_size].

    >>> import numpy as np
    >>> print(softmax(np.float32([[0, 0, 1]]), temperature=0.5).round(4))
    [[0.1065 0.1065 0.787 ]]
    """
    framework = framework_of(logits, "softmax: logits")
    probs = framework.empty(logits.shape, logits, "f32")
    _calls.softmax(logits, probs, *_tensor_or_number(temperature))
    return framework.result(probs)


def _renorm(probs: Tensor, top_k: Any = None, top_p: Any = None) -> Tensor:
    framework = framework_of(probs, "renorm_probs: probs")
    out = framework.empty_like(probs)
    _calls.renorm(probs, out, *_tensor_or_number(top_k), *_tensor_or_number(top_p))
    return framework.result(out)


def top_p_renorm_probs(probs: Tensor, top_p: Any, is_deterministic: bool = False) -> Tensor:
    """Probabilities of what `top_p` keeps, that add up to 1; 0 elsewhere.

    >>> import numpy as np
    >>> print(top_p_renorm_probs(np.float32([[0.5, 0.25, 0.125, 0.125]]), 0.75).round(4))
    [[0.6667 0.3333 0.     0.    ]]
    """
    return _renorm(probs, top_p=top_p)


def top_k_renorm_probs(probs: Tensor, top_k: Any) -> Tensor:
    """Probabilities of the `top_k` most probable tokens, that add up to 1; 0 elsewhere."""
    return _renorm(probs, top_k=top_k)


def top_k_mask_logits(logits: Tensor, top_k: Any) -> Tensor:
    """The `top_k` largest logits of each row, and -inf elsewhere.

    >>> import numpy as np
    >>> top_k_mask_logits(np.float32([[3, 1, 2]]), 2).tolist()
    [[3.0, -inf, 2.0]]
    """
    framework = framework_of(logits, "mask_logits: logits")
    out = framework.empty_like(logits)
    _calls.mask(logits, out, *_tensor_or_number(top_k))
    return framework.result(out)


top_p_renorm_prob = top_p_renorm_probs
top_k_renorm_prob = top_k_renorm_probs


def chain_speculative_sampling(
    draft_probs: Tensor,
    draft_token_ids: Tensor,
    target_probs: Tensor,
    maybe_output_accepted_token_num: Optional[Tensor] = None,
    maybe_output_emitted_draft_token_num: Optional[Tensor] = None,
    deterministic: bool = True,
    generator: Any = None,
    seed: Any = None,
    offset: Any = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Verifies drafts of tokens, so that what comes out is distributed as if the target had drawn every one.

    Token i of a draft is accepted with probability min(1, target_probs[b, i, t] / draft_probs[b, i, t]). Behind the first
    that is not, one is drawn from max(target_probs - draft_probs, 0) of its place; behind the last one of all, from the
    target. -1 in draft_token_ids ends a draft (Leviathan et al., 2023).

    Arguments: draft_probs [batch_size, n, vocab_size], draft_token_ids [batch_size, n], int32 or int64, target_probs
    [batch_size, n + 1, vocab_size]. The two counts, int32 [batch_size], are added to where they are given.
    Returns the tokens, [batch_size, n + 1], -1 behind the last; how many of the draft are accepted, each by itself; how
    many are emitted: those before the first that is not accepted.

    >>> import numpy as np
    >>> target = np.float32([[[0, 1], [0, 1]]])
    >>> chain_speculative_sampling(np.float32([[[0.5, 0.5]]]), np.int32([[0]]), target, seed=1, offset=0)[0].tolist()
    [[1, -1]]
    """
    framework = framework_of(target_probs, "chain_speculative_sampling: target_probs")
    batch_size, num_tokens = target_probs.shape[:2]
    tokens = framework.empty((batch_size, num_tokens), target_probs, dtype_name(draft_token_ids.dtype))
    given = (maybe_output_accepted_token_num, maybe_output_emitted_draft_token_num)
    accumulate = any(count is not None for count in given)
    counts = [framework.empty((batch_size,), target_probs, "i32") if count is None else count for count in given]
    for count, added_to in zip(counts, given):
        if accumulate and added_to is None:
            count[...] = 0
    if seed is None:
        seed, offset = _draw_seed(framework, generator, target_probs)
    seeds, seed = _tensor_or_number(seed)
    offsets, offset = _tensor_or_number(offset)
    _calls.chain(draft_probs, draft_token_ids, target_probs, tokens, *counts, accumulate, seeds, offsets, seed, offset)
    return framework.result(tokens), framework.result(counts[0]), framework.result(counts[1])


top_p_renorm_prob = top_p_renorm_probs
top_k_renorm_prob = top_k_renorm_probs
