"""Speculative decoding: chains by their frequencies, trees by what must come out."""

import numpy as np
import pytest

import strobe

DRAWS = 20_000
DRAFT, TARGET = np.float32([0.1, 0.6, 0.3]), np.float32([0.5, 0.2, 0.3])


def test_a_chain_is_distributed_as_the_target():
    ids = strobe.sampling_from_probs(DRAFT[None], indices=np.zeros(DRAWS, np.int32), seed=1, offset=0)[:, None]
    draft, target = np.tile(DRAFT, (DRAWS, 1, 1)), np.tile(TARGET, (DRAWS, 2, 1))
    tokens, accepted, emitted = strobe.chain_speculative_sampling(draft, ids, target, seed=2, offset=0)
    assert tokens.dtype == np.int32 and tokens.shape == (DRAWS, 2)
    got = np.bincount(tokens[:, 0], minlength=3) / DRAWS
    assert np.all(np.abs(got - TARGET) <= 5 * np.sqrt(TARGET * (1 - TARGET) / DRAWS)), got
    overlap = np.minimum(DRAFT, TARGET).sum()
    assert abs(emitted.mean() - overlap) < 5 * np.sqrt(overlap * (1 - overlap) / DRAWS)
    np.testing.assert_array_equal(emitted, accepted)  # of one token
    np.testing.assert_array_equal(tokens[:, 1] >= 0, emitted == 1)
    assert np.abs(got - DRAFT).max() > 0.3  # the negative control


def test_counts_are_added_to():
    target = np.float32([[[0, 1], [1, 0]]])
    draft, ids = np.float32([[[0, 1]]]), np.int64([[1]])
    accepted = np.int32([5])
    tokens, got, emitted = strobe.sampling.chain_speculative_sampling(draft, ids, target, accepted, seed=1, offset=0)
    assert tokens.tolist() == [[1, 0]] and tokens.dtype == np.int64
    assert got is accepted and accepted.tolist() == [6] and emitted.tolist() == [1]


def test_trees():
    nodes, links = np.int64([[0, 1, 2]]), (np.int64([[1, -1, -1]]), np.int64([[-1, 2, -1]]))
    probs = np.tile(TARGET, (1, 3, 1))
    first = [strobe.tree_speculative_sampling(probs, nodes, nodes, *links, seed=s, offset=0)[0][0] for s in range(4000)]
    got = np.bincount(first, minlength=3) / len(first)
    assert np.all(np.abs(got - TARGET) <= 5 * np.sqrt(TARGET * (1 - TARGET) / len(first))), got
    *_, valid = strobe.verify_tree_greedy(nodes, nodes, nodes, np.int64([[7, -1, -1]]), links[1], return_valid=True)
    assert valid.tolist() == [False]
    with pytest.raises(ValueError, match="verify_tree_greedy: retrieve_index: expected"):
        strobe.verify_tree_greedy(nodes, nodes, nodes[:, :2], *links)
