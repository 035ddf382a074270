"""The largest values of rows against numpy's sort, and the transforms against their formulas."""

import numpy as np
import pytest
import reference as ref

import strobe

rng = np.random.default_rng(8)


def first(row, k, last_first=False):
    """Indices of the k largest; of equal ones the lower index first, or the higher."""
    turned = row.astype(np.float64)[::-1] if last_first else row.astype(np.float64)
    indices = np.argsort(-turned, kind="stable")[:k]
    return len(row) - 1 - indices if last_first else indices


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_top_k(dtype):
    x = rng.integers(0, 40, (3, 200)).astype(dtype)  # with many equal values
    for tie_break in strobe.topk.TopKTieBreak:
        values, indices = strobe.top_k(x, 17, tie_break=tie_break)
        want = np.stack([first(row, 17, tie_break == 2) for row in x])
        assert indices.dtype == np.int64 and values.dtype == x.dtype
        np.testing.assert_array_equal(indices, want)
        np.testing.assert_array_equal(values, np.take_along_axis(x, want, 1))
    with pytest.raises(ValueError, match="top_k: k: expected 1 to vocab_size = 200, got 201"):
        strobe.top_k(x, 201)
    with pytest.raises(ValueError, match="3 is not a valid TopKTieBreak"):
        strobe.top_k(x, 3, tie_break=3)


def test_transforms():
    scores = rng.standard_normal((4, 96)).astype(np.float32)
    lengths, starts, offsets = np.int32([90, 3, 50, 0]), np.int32([2, 1, 46, 5]), np.int32([0, 100, 200, 300])
    table, first_pages = rng.integers(0, 1000, (2, 40)).astype(np.int32), np.int32([1, 2, 3, 4])
    batches, raw = np.int32([1, 0, 1, 0]), np.empty((4, 8), np.int32)
    want = np.full((4, 8), -1)
    for i, (start, length) in enumerate(zip(starts, lengths)):
        found = np.sort(first(scores[i, start : start + length], 8))
        want[i, : len(found)] = found
    ragged = strobe.top_k_ragged_transform(scores, offsets, lengths, 8, row_starts=starts)
    np.testing.assert_array_equal(ragged, np.where(want < 0, -1, want + offsets[:, None]))
    out = np.empty((4, 8), np.int32)
    got = strobe.top_k_page_table_transform(
        scores, table, lengths, 8, batches, row_starts=starts, page_table_row_starts=first_pages, page_size=4, out=out,
        out_raw_indices=raw,
    )  # fmt: skip
    assert got is out
    np.testing.assert_array_equal(raw, want)
    pages = table[batches[:, None], np.minimum(first_pages[:, None] + np.maximum(want, 0) // 4, 39)]
    np.testing.assert_array_equal(out, np.where(want < 0, -1, pages * 4 + want % 4))
