"""Trees of drafted tokens, verified by a target model.

A tree has nodes, of which node 0 is the root: the last token that is known. `candidates` has their tokens,
`retrieve_next_token` the first child of each, `retrieve_next_sibling` the next sibling (-1: none), `retrieve_index` where each
stands in `predicts`: all [batch_size, num_nodes], int32 or int64. Both functions return

- predicts, int32 [batch_size * num_nodes]: the token behind each node that was taken, -1 elsewhere;
- accept_index, int32 [batch_size, num_steps]: where the nodes that were taken stand, from the root on, then -1;
- accept_token_num, int32 [batch_size]: how many were taken beside the root.

These are the structures that SGLang builds; the functions are pure where its own write into tensors of the caller's. A request
whose links are out of range or lead in a circle is bad: its last token is 0. With return_valid, bool [batch_size] says which
requests were good. `strobe.chain_speculative_sampling` is for drafts without branches.
"""

from __future__ import annotations

from typing import Any, Optional

from ._frameworks import Framework, framework_of
from ._native import Calls
from .sampling import _draw_seed, _tensor_or_number

Tensor = Any

_TREE = (
    "candidates, retrieve_index, retrieve_next_token, retrieve_next_sibling, predicts, accept_index, accept_token_num, valid"
)
_calls = Calls(
    sampling=f"tree_speculative_sampling(target_probs, {_TREE}, seeds, offsets, seed, offset)",
    greedy=f"verify_tree_greedy(target_predict, {_TREE})",
)


def _results(framework: Framework, candidates: Tensor, num_steps: Optional[int], return_valid: bool) -> tuple[Tensor, ...]:
    batch_size, num_nodes = candidates.shape
    return (
        framework.empty((batch_size * num_nodes,), candidates, "i32"),
        framework.empty((batch_size, num_nodes if num_steps is None else num_steps), candidates, "i32"),
        framework.empty((batch_size,), candidates, "i32"),
        framework.empty((batch_size,), candidates, "bool") if return_valid else None,
    )


def _given(framework: Framework, results: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(framework.result(result) for result in results if result is not None)


def tree_speculative_sampling(
    target_probs: Tensor,
    candidates: Tensor,
    retrieve_index: Tensor,
    retrieve_next_token: Tensor,
    retrieve_next_sibling: Tensor,
    num_steps: Optional[int] = None,
    generator: Any = None,
    seed: Any = None,
    offset: Any = None,
    return_valid: bool = False,
) -> tuple[Tensor, ...]:
    """Walks each tree from its root: a child is taken with its probability under the target, else a token is drawn from the
    others. What comes out is distributed as if the target had drawn every token.

    target_probs [batch_size, num_nodes, vocab_size], f32, f16 or bf16; num_steps nodes at most are taken, the root among
    them.

    >>> import numpy as np
    >>> root_and_two = np.int32([[0, 1, 2]])
    >>> certain = np.float32([[[0, 0, 1], [1, 0, 0], [0, 1, 0]]])
    >>> links = np.int32([[1, -1, -1]]), np.int32([[-1, 2, -1]])
    >>> [x.tolist() for x in tree_speculative_sampling(certain, root_and_two, root_and_two, *links, seed=1, offset=0)]
    [[2, -1, 1], [[0, 2, -1]], [1]]
    """
    framework = framework_of(target_probs, "tree_speculative_sampling: target_probs")
    results = _results(framework, candidates, num_steps, return_valid)
    if seed is None:
        seed, offset = _draw_seed(framework, generator, target_probs)
    seeds, seed = _tensor_or_number(seed)
    offsets, offset = _tensor_or_number(offset)
    _calls.sampling(
        target_probs, candidates, retrieve_index, retrieve_next_token, retrieve_next_sibling, *results, seeds, offsets, seed,
        offset,
    )  # fmt: skip
    return _given(framework, results)


def verify_tree_greedy(
    target_predict: Tensor,
    candidates: Tensor,
    retrieve_index: Tensor,
    retrieve_next_token: Tensor,
    retrieve_next_sibling: Tensor,
    num_steps: Optional[int] = None,
    return_valid: bool = False,
) -> tuple[Tensor, ...]:
    """Walks each tree from its root along the tokens that the target predicts: target_predict, like candidates.

    >>> import numpy as np
    >>> root_and_two = np.int32([[0, 1, 2]])
    >>> links = np.int32([[1, -1, -1]]), np.int32([[-1, 2, -1]])
    >>> [x.tolist() for x in verify_tree_greedy(np.int32([[2, 7, 9]]), root_and_two, root_and_two, *links)]
    [[2, -1, 9], [[0, 2, -1]], [1]]
    """
    framework = framework_of(target_predict, "verify_tree_greedy: target_predict")
    results = _results(framework, candidates, num_steps, return_valid)
    _calls.greedy(
        target_predict, candidates, retrieve_index, retrieve_next_token, retrieve_next_sibling, *results
    )  # fmt: skip
    return _given(framework, results)
