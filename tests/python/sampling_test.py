"""Sampling: filters against FP64, draws by their frequencies, seeds by their results."""

import random

import numpy as np
import pytest
import reference as ref

import strobe

rng = np.random.default_rng(6)
PROBS = np.float32([0.4, 0.05, 0.3, 0.25])
DRAWS = 20_000


def frequencies(function, *arguments, **options):
    """Of tokens drawn from one row by as many samples, all under one seed."""
    return np.bincount(function(*arguments, indices=np.zeros(DRAWS, np.int32), seed=5, offset=3, **options), minlength=4) / DRAWS


def expect(got, want):
    want = np.float64(want) / np.sum(want)
    assert np.all(np.abs(got - want) <= 5 * np.sqrt(want * (1 - want) / DRAWS)), (got, want)


@pytest.mark.parametrize(
    "function, filters, kept",
    [
        (strobe.sampling_from_probs, (), [1, 1, 1, 1]),
        (strobe.top_k_sampling_from_probs, (2,), [1, 0, 1, 0]),
        (strobe.top_p_sampling_from_probs, (0.7,), [1, 0, 1, 0]),
        (strobe.top_p_sampling_from_probs, (0.71,), [1, 0, 1, 1]),
        (strobe.min_p_sampling_from_probs, (0.6,), [1, 0, 1, 1]),
        (strobe.min_p_sampling_from_probs, (0.7,), [1, 0, 1, 0]),
        (strobe.top_k_top_p_sampling_from_probs, (2, 0.5), [1, 0, 0, 0]),  # 0.4 of 0.7 is more than half
        (strobe.top_k_top_p_sampling_from_probs, (1, 0.9), [1, 0, 0, 0]),
    ],
)
def test_draws_follow_the_kept_probabilities(function, filters, kept):
    expect(frequencies(function, PROBS[None], *filters), PROBS * kept)


def test_joint_filters_look_at_the_whole_row():
    expect(frequencies(strobe.top_k_top_p_sampling_from_probs, PROBS[None], 2, 0.5, filter_apply_order="joint"), PROBS * [1, 0, 1, 0])
    with pytest.raises(ValueError, match="filter_apply_order: expected top_k_first or joint, got 'top_p_first'"):
        strobe.top_k_top_p_sampling_from_probs(PROBS[None], 2, 0.5, filter_apply_order="top_p_first")


def test_draws_from_logits():
    logits = np.log(PROBS)[None] + np.float32(3)
    expect(frequencies(strobe.sampling_from_logits, logits), PROBS)
    expect(frequencies(strobe.top_k_top_p_sampling_from_logits, logits, 3, 1.0), PROBS * [1, 0, 1, 1])
    with pytest.raises(AssertionError):  # the negative control
        expect(frequencies(strobe.sampling_from_logits, logits), PROBS[::-1])


def test_parameters_of_each_row():
    probs = np.tile(PROBS, (64, 1))
    for function, values in (
        (strobe.top_k_sampling_from_probs, np.int32([1, 4] * 32)),
        (strobe.top_p_sampling_from_probs, np.float32([0.1, 1] * 32)),
        (strobe.min_p_sampling_from_probs, np.float32([1, 0] * 32)),
    ):
        samples = function(probs, values, seed=7, offset=0)
        assert not samples[::2].any() and len(set(samples[1::2].tolist())) > 1


def test_seeds():
    probs = np.tile(PROBS, (50, 1))
    first = strobe.sampling_from_probs(probs, seed=1, offset=2)
    np.testing.assert_array_equal(strobe.sampling_from_probs(probs, seed=1, offset=2), first)
    for other in ({"seed": 2, "offset": 2}, {"seed": 1, "offset": 3}):
        assert (strobe.sampling_from_probs(probs, **other) != first).any()
    # With a seed each, a row's token does not depend on its place.
    seeds, offsets = np.arange(50), np.full(50, 9)
    own = strobe.sampling_from_probs(probs, seed=seeds, offset=offsets)
    np.testing.assert_array_equal(strobe.sampling_from_probs(probs[:7], seed=seeds[10:17], offset=offsets[:7]), own[10:17])
    random.seed(11)
    drawn = [strobe.sampling_from_probs(probs) for _ in range(2)]
    assert (drawn[0] != drawn[1]).any()
    random.seed(11)
    np.testing.assert_array_equal(strobe.sampling_from_probs(probs), drawn[0])


def test_bad_rows():
    probs = np.tile(PROBS, (3, 1))
    probs[1, 2] = np.nan
    samples, valid = strobe.sampling_from_probs(probs, seed=1, offset=0, return_valid=True)
    assert valid.tolist() == [True, False, True] and samples[1] == 0 and samples.dtype == np.int32
    with pytest.raises(ValueError, match="sampling_from_probs: expected rows of finite values"):
        strobe.top_k_sampling_from_probs(probs, 2, check_nan=True)
    strobe.top_k_sampling_from_probs(probs[:1], 2, check_nan=True)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_softmax(dtype):
    logits = (4 * rng.standard_normal((3, 100))).astype(dtype)
    for temperature in (None, 0.7, np.float32([0.5, 1, 2])):
        x = logits.astype(np.float64) / (1 if temperature is None else np.reshape(temperature, (-1, 1)))
        e = np.exp(x - x.max(-1, keepdims=True))
        got = strobe.softmax(logits, temperature)
        assert got.dtype == np.float32
        ref.close(got, e / e.sum(-1, keepdims=True), np.float32, 100)


def test_renormalised_probabilities_and_masked_logits():
    probs = rng.random((4, 50)).astype(np.float32) ** 4
    probs /= probs.sum(-1, keepdims=True)
    order = np.sort(probs, -1)[:, ::-1]
    for got, least in (
        (strobe.top_k_renorm_probs(probs, 7), order[:, 6]),
        (strobe.top_k_renorm_probs(probs, np.int32([1, 5, 9, 50])), order[range(4), [0, 4, 8, 49]]),
        (
            strobe.top_p_renorm_probs(probs, 0.8),
            order[range(4), np.argmax(np.cumsum(order.astype(np.float64), -1) >= 0.8, -1)],
        ),
    ):
        kept = np.where(probs >= least[:, None], probs.astype(np.float64), 0)
        ref.close(got, kept / kept.sum(-1, keepdims=True), np.float32, 50)
    logits = rng.standard_normal((4, 50)).astype(np.float16)
    least = np.sort(logits, -1)[:, -9:][:, :1]
    np.testing.assert_array_equal(strobe.top_k_mask_logits(logits, 9), np.where(logits >= least, logits, -np.inf))


def test_draws_without_a_seed_differ():
    probs = np.full((1, 1, 5000), 1 / 5000, np.float32)
    target = np.repeat(probs, 2, axis=1)
    drawn = {int(strobe.chain_speculative_sampling(probs, np.int32([[-1]]), target)[0][0, 0]) for _ in range(4)}
    assert len(drawn) > 1
    links = np.int32([[-1]])
    node = np.int32([[0]])
    drawn = {strobe.tree_speculative_sampling(probs, node, node, links, links)[0].tolist()[0] for _ in range(4)}
    assert len(drawn) > 1
