"""Penalties and bit masks against plain arithmetic, by themselves and as steps of a pipeline."""

import numpy as np
import pytest

import strobe
from strobe.logits_processor import LogitsPipe, Penalties, PenaltiesOp, Sample, Softmax, Temperature, TokenBitmask, TopK

rng = np.random.default_rng(8)
ROWS, VOCAB = 5, 77
LOGITS = rng.standard_normal((ROWS, VOCAB)).astype(np.float32)
COUNTS = rng.integers(0, 3, (ROWS, VOCAB)).astype(np.int32)
PROMPT, ALLOWED = rng.random((ROWS, VOCAB)) < 0.3, rng.random((ROWS, VOCAB)) < 0.5


def words(bits):
    padded = np.zeros((len(bits), -(-VOCAB // 32) * 32), np.uint8)
    padded[:, :VOCAB] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view(np.int32)


def penalised(repetition, frequency, presence):
    x, count = LOGITS.astype(np.float64), COUNTS.astype(np.float64)
    repetition, frequency, presence = (np.reshape(p, (-1, 1)) for p in (repetition, frequency, presence))
    x = np.where((COUNTS > 0) | PROMPT, np.where(x > 0, x / repetition, x * repetition), x)
    return x - frequency * count - presence * (COUNTS > 0)


def test_penalties():
    numbers, rows = (1.3, 0.2, 0.4), [np.linspace(low, 1.5, ROWS, dtype=np.float32) for low in (0.5, -1, 0)]
    for repetition, frequency, presence in (numbers, rows):
        given = {"repetition_penalty": repetition, "frequency_penalty": frequency, "presence_penalty": presence}
        want = penalised(repetition, frequency, presence)
        np.testing.assert_allclose(strobe.apply_penalties(LOGITS, COUNTS, words(PROMPT), **given), want, rtol=1e-5, atol=1e-6)
        masked = strobe.apply_penalties(LOGITS, COUNTS, words(PROMPT), bitmask=words(ALLOWED), **given)
        np.testing.assert_allclose(masked, np.where(ALLOWED, want, -np.inf), rtol=1e-5, atol=1e-6)
    assert np.abs(strobe.apply_penalties(LOGITS, COUNTS, repetition_penalty=1.3) - penalised(1.3, 0, 0)).max() > 0.1  # no prompt


def test_bitmasks():
    np.testing.assert_array_equal(strobe.apply_token_bitmask(LOGITS, words(ALLOWED)), np.where(ALLOWED, LOGITS, -np.inf))
    indices = np.int32([4, 4, -1, 0, 1])
    chosen = np.where(indices[:, None] < 0, True, ALLOWED[indices])
    logits = LOGITS.copy()
    assert strobe.apply_token_bitmask(logits, words(ALLOWED), indices, out=logits) is logits
    np.testing.assert_array_equal(logits, np.where(chosen, LOGITS, -np.inf))
    with pytest.raises(ValueError, match="apply_token_bitmask: bitmask: expected at least 3 words a row for 77 tokens"):
        strobe.apply_token_bitmask(LOGITS, words(ALLOWED)[:, :2])


def test_steps_of_a_pipeline():
    given = {"repetition_penalty": 1.5, "frequency_penalty": 0.1, "counts": COUNTS, "prompt_mask": words(PROMPT)}
    steps = [Penalties(), TokenBitmask(), Temperature(temperature=0.5), Softmax()]
    pipe, one_by_one = (LogitsPipe(steps, compile=flag) for flag in (True, False))
    assert len(one_by_one.ops) == 4 and [type(op) for op in pipe.compiled_ops][:1] == [PenaltiesOp] and len(pipe.compiled_ops) == 2
    got = pipe(LOGITS, bitmask=words(ALLOWED), **given)
    np.testing.assert_allclose(got, one_by_one(LOGITS, bitmask=words(ALLOWED), **given), rtol=1e-6)
    x = np.where(ALLOWED, penalised(1.5, 0.1, 0), -np.inf) / 0.5
    want = np.exp(x - x.max(-1, keepdims=True))
    np.testing.assert_allclose(got, want / want.sum(-1, keepdims=True), rtol=1e-5, atol=1e-9)
    greedy = LogitsPipe([Penalties(), TokenBitmask(), TopK(top_k=1), Sample()])
    assert len(greedy.compiled_ops) == 2
    tokens = greedy(LOGITS, bitmask=words(ALLOWED), seed=1, offset=0, **given)
    np.testing.assert_array_equal(tokens, x.argmax(-1))
    with pytest.raises(ValueError, match="PenaltiesOp: counts: expected one with the call or the step, got none"):
        LogitsPipe([Penalties()])(LOGITS)
