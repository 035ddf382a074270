"""Activations, RoPE, page, merges and packbits against FP64 and against what the contract says."""

import numpy as np
import pytest
import reference as ref

import strobe

rng = np.random.default_rng(2)


def rows(dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize(
    "function, activation",
    [
        (strobe.silu_and_mul, ref.silu),
        (strobe.gelu_and_mul, ref.gelu),
        (strobe.gelu_tanh_and_mul, ref.gelu_tanh),
    ],
)
def test_gated_activations(function, activation, dtype):
    x = rows(dtype, 3, 5, 2 * 72)
    want = ref.gated(x, activation)
    out = function(x)
    assert out.shape == (3, 5, 72) and out.dtype == x.dtype
    ref.close(out, want, dtype, 8)
    given = np.full((3, 5, 72), np.nan, dtype)
    assert function(x, out=given) is given
    ref.close(given, want, dtype, 8)


POSITIONS = np.array([0, 1, 2, 100, 101, 7000])
INDPTR, OFFSETS = np.int32([0, 3, 5, 6]), np.int32([0, 100, 7000])


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("rotary_dim", [None, 32])
def test_rope(rotary_dim, interleave, dtype):
    q, k = rows(dtype, 6, 4, 64), rows(dtype, 6, 2, 64)
    f = ref.rope_frequencies(rotary_dim or 64, 2, 1e4)
    want = [ref.rope(x, POSITIONS, f, interleave) for x in (q, k)]
    options = dict(rotary_dim=rotary_dim, interleave=interleave, rope_scale=2)
    for pos in (POSITIONS.astype(np.int32), POSITIONS.astype(np.int64)):
        for got, expected in zip(strobe.apply_rope_pos_ids(q, k, pos, **options), want):
            ref.close(got, expected, dtype, 4)
    for got, expected in zip(strobe.apply_rope(q, k, INDPTR, OFFSETS, **options), want):
        ref.close(got, expected, dtype, 4)
    a, b = q.copy(), k.copy()
    strobe.apply_rope_inplace(a, b, INDPTR, OFFSETS, **options)
    ref.close(a, want[0], dtype, 4)
    strobe.apply_rope_pos_ids_inplace(q, k, POSITIONS.astype(np.int32), **options)
    ref.close(q, want[0], dtype, 4)
    ref.close(k, want[1], dtype, 4)


def test_llama31_rope():
    q, k = rows(np.float32, 6, 4, 128), rows(np.float32, 6, 2, 128)
    options = dict(rope_scale=16, rope_theta=1e5, low_freq_factor=2, high_freq_factor=8, old_context_len=4096)
    want = [ref.rope(x, POSITIONS, ref.rope_frequencies(128, 16, 1e5, (2, 8, 4096)), False) for x in (q, k)]
    pos = POSITIONS.astype(np.int32)
    for results in (
        strobe.apply_llama31_rope(q, k, INDPTR, OFFSETS, **options),
        strobe.apply_llama31_rope_pos_ids(q, k, pos, **options),
    ):
        for got, expected in zip(results, want):
            ref.close(got, expected, np.float32, 8)
    default = ref.rope(q, POSITIONS, ref.rope_frequencies(128, 8, 5e5, (1, 4, 8192)), False)
    ref.close(strobe.apply_llama31_rope_pos_ids(q, k, pos)[0], default, np.float32, 8)
    for inplace in (
        lambda a, b: strobe.apply_llama31_rope_inplace(a, b, INDPTR, OFFSETS),
        lambda a, b: strobe.apply_llama31_rope_pos_ids_inplace(a, b, pos),
    ):
        a, b = q.copy(), k.copy()
        inplace(a, b)
        ref.close(a, default, np.float32, 8)


@pytest.mark.parametrize("is_neox", [True, False])
def test_rope_with_cos_sin_cache(is_neox):
    q, k = rows(ref.BF16, 6, 4 * 64), rows(ref.BF16, 6, 2 * 64)
    f = ref.rope_frequencies(32, 1, 1e4)
    table = np.arange(8000)[:, None] * f
    cache = np.concatenate([np.cos(table), np.sin(table)], axis=1).astype(np.float32)
    want = [ref.rope(x.reshape(6, -1, 64), POSITIONS, f, not is_neox).reshape(x.shape) for x in (q, k)]
    for got, expected in zip(strobe.apply_rope_with_cos_sin_cache(POSITIONS, q, k, 64, cache, is_neox), want):
        ref.close(got, expected, ref.BF16, 4)
    strobe.apply_rope_with_cos_sin_cache_inplace(POSITIONS, q, k, 64, cache, is_neox)
    ref.close(q, want[0], ref.BF16, 4)
    with pytest.raises(ValueError, match=r"key: expected shape \[nnz, heads \* head_size = heads \* 48\], got \[6, 128\]"):
        strobe.apply_rope_with_cos_sin_cache(POSITIONS, q[:, :192], k, 48, cache, is_neox)


@pytest.mark.parametrize("layout", ["NHD", "HND"])
@pytest.mark.parametrize("pair", [False, True])
def test_append_paged_kv_cache(pair, layout):
    # Two requests of 5 and 3 tokens in pages of 4; the last 2 and 1 of them are appended.
    k, v = rows(np.float16, 4, 2, 8), rows(np.float16, 4, 2, 8)
    indptr, indices, last = np.int32([0, 2, 3]), np.int32([3, 0, 2]), np.int32([1, 3])
    batch, positions = strobe.get_batch_indices_positions(
        np.int32([0, 2, 3]), strobe.get_seq_lens(indptr, last, 4), 4
    )
    assert batch.tolist() == [0, 0, 1, -1] and positions.tolist() == [3, 4, 2, -1]
    shape = (4, 2, 4, 2, 8) if layout == "NHD" else (4, 2, 2, 4, 8)
    cache = np.full(shape, 7, np.float16)
    given = (cache[:, 0], cache[:, 1]) if pair else cache
    strobe.append_paged_kv_cache(k, v, batch, positions, given, indices, indptr, last, layout)
    want = np.full((4, 2, 4, 2, 8), 7, np.float16)
    for token, (page, slot) in enumerate([(3, 3), (0, 0), (2, 2)]):
        want[page, 0, slot], want[page, 1, slot] = k[token], v[token]
    np.testing.assert_array_equal(cache, want if layout == "NHD" else want.swapaxes(2, 3))


def test_append_paged_mla_kv_cache():
    ckv, kpe = rows(ref.BF16, 1, 32), rows(ref.BF16, 1, 8)
    ckv_cache, kpe_cache = np.zeros((2, 4, 32), ref.BF16), np.zeros((2, 4, 8), ref.BF16)
    i32 = np.int32
    strobe.append_paged_mla_kv_cache(
        ckv, kpe, i32([0]), i32([6]), ckv_cache, kpe_cache, i32([1, 0]), i32([0, 2]), i32([3])
    )
    np.testing.assert_array_equal(ckv_cache[0, 2].view(np.uint16), ckv[0].view(np.uint16))
    np.testing.assert_array_equal(kpe_cache[0, 2].view(np.uint16), kpe[0].view(np.uint16))
    assert np.count_nonzero(ckv_cache) == 32


def test_page_errors():
    cache, token, i32 = np.zeros((2, 2, 4, 2, 8), np.float16), np.ones((1, 2, 8), np.float16), np.int32
    with pytest.raises(ValueError, match="kv_layout: expected NHD or HND, got 'NDH'"):
        strobe.append_paged_kv_cache(token, token, i32([0]), i32([0]), cache, i32([0]), i32([0, 1]), i32([1]), "NDH")
    with pytest.raises(ValueError, match=r"paged_kv_cache: expected shape \[num_pages, 2, page_size"):
        strobe.append_paged_kv_cache(token, token, i32([0]), i32([0]), cache[:, 0], i32([0]), i32([0, 1]), i32([1]))
    with pytest.raises(ValueError, match="append_paged_kv_cache: "):
        strobe.append_paged_kv_cache(token, token, i32([0]), i32([9]), cache, i32([0]), i32([0, 1]), i32([1]))
    assert not cache.any()


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_merges(dtype):
    v, s = rows(dtype, 6, 3, 4, 16), rows(np.float32, 6, 3, 4) * 5
    s[0, 1] = -np.inf
    s[1] = -np.inf
    want_v, want_s = ref.merge(v, s)
    got_v, got_s = strobe.merge_states(v, s)
    ref.close(got_v, want_v, dtype, 8)
    ref.close(got_s, want_s, np.float32, 8, scale=1)
    want_v, want_s = ref.merge(v[:, :2], s[:, :2])
    a, b = (np.ascontiguousarray(v[:, i]) for i in (0, 1))
    sa, sb = (np.ascontiguousarray(s[:, i]) for i in (0, 1))
    got_v, got_s = strobe.merge_state(a, sa, b, sb)
    ref.close(got_v, want_v, dtype, 8)
    ref.close(got_s, want_s, np.float32, 8, scale=1)
    mask = np.bool_([1, 1, 0, 1, 0, 1])
    kept = a.copy()
    strobe.merge_state_in_place(a, sa, b, sb, mask)
    ref.close(a[mask], want_v[mask], dtype, 8)
    np.testing.assert_array_equal(a[~mask], kept[~mask])


@pytest.mark.parametrize("order", ["big", "little"])
def test_packbits(order):
    for size in (0, 1, 7, 8, 9, 333):
        x = rng.random(size) < 0.5
        np.testing.assert_array_equal(strobe.packbits(x, order), np.packbits(x, bitorder=order))
    bits = rng.random(100) < 0.5
    indptr = np.int32([0, 13, 13, 29, 100])
    packed, packed_indptr = strobe.segment_packbits(bits, indptr, order)
    want = [np.packbits(bits[a:b], bitorder=order) for a, b in zip(indptr, indptr[1:])]
    np.testing.assert_array_equal(packed, np.concatenate(want))
    assert packed_indptr.tolist() == [0, *np.cumsum([len(w) for w in want])]
    with pytest.raises(ValueError, match="packbits: bitorder: expected one of big, little, got 'middle'"):
        strobe.packbits(bits, "middle")
