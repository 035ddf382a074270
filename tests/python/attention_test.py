"""Attention against FP64: single requests, batches over paged and ragged KV, every option of the contract."""

import numpy as np
import pytest
import reference as ref

import strobe
from strobe import _attention
from strobe.variants import SINKS

rng = np.random.default_rng(5)
HEADS, KV_HEADS, DIM, PAGE = 6, 2, 64, 4


def normal(dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def close(got, want, dtype):
    ref.close(got, want, dtype, 256, scale=1)


def swap(x, layout):
    """[…, tokens, heads, dim] in the layout."""
    return x if layout == "NHD" else np.ascontiguousarray(x.swapaxes(-3, -2))


OPTIONS = [
    {},
    {"causal": True},
    {"window_left": 5},
    {"causal": True, "window_left": 3},
    {"soft_cap": 2.0},
    {"sm_scale": 0.3},
    {"alibi": True},
]


def given(options):
    """FlashInfer's arguments for the reference's."""
    named = {"soft_cap": "logits_soft_cap", "alibi": "pos_encoding_mode"}
    return {named.get(key, key): "ALIBI" if key == "alibi" else value for key, value in options.items()}


@pytest.mark.parametrize("layout", ["NHD", "HND"])
@pytest.mark.parametrize("options", OPTIONS)
def test_single_prefill(options, layout):
    q, k, v = normal(np.float32, 7, HEADS, DIM), normal(np.float32, 20, KV_HEADS, DIM), normal(np.float32, 20, KV_HEADS, DIM)
    want, lse = ref.attention(q, k, v, **options)
    got, got_lse = strobe.single_prefill_with_kv_cache(
        q, swap(k, layout), swap(v, layout), kv_layout=layout, return_lse=True, **given(options)
    )
    close(got, want, np.float32)
    close(got_lse, lse, np.float32)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_single_decode(layout, dtype):
    q, k, v = normal(dtype, HEADS, DIM), normal(dtype, 33, KV_HEADS, DIM), normal(dtype, 33, KV_HEADS, 2 * DIM)
    for options in ({}, {"window_left": 9}, {"soft_cap": 3.0}):
        want, lse = ref.attention(q[None], k, v, **options)
        got, got_lse = strobe.single_decode_with_kv_cache(
            q, swap(k, layout), swap(v, layout), layout, return_lse=True, **given(options)
        )
        assert got.dtype == q.dtype and got_lse.dtype == np.float32
        close(got, want[0], dtype)
        close(got_lse, lse[0], np.float32)


def test_rope_on_the_fly():
    q, k, v = normal(np.float32, 5, HEADS, DIM), normal(np.float32, 12, KV_HEADS, DIM), normal(np.float32, 12, KV_HEADS, DIM)
    f = ref.rope_frequencies(DIM, 2.0, 5e3)
    turned = ref.rope(q, np.arange(7, 12), f, False), ref.rope(k, np.arange(12), f, False)
    got = strobe.single_prefill_with_kv_cache(
        q, k, v, causal=True, pos_encoding_mode="ROPE_LLAMA", rope_scale=2.0, rope_theta=5e3
    )
    close(got, ref.attention(*turned, v, causal=True)[0], np.float32)


def test_custom_mask():
    q, k, v = normal(np.float32, 7, HEADS, DIM), normal(np.float32, 21, KV_HEADS, DIM), normal(np.float32, 21, KV_HEADS, DIM)
    mask = rng.random((7, 21)) < 0.5
    mask[3] = False
    want, lse = ref.attention(q, k, v, mask=mask)
    packed = np.packbits(mask.reshape(-1), bitorder="little")
    for arguments in ({"custom_mask": mask}, {"packed_custom_mask": packed}):
        got, got_lse = strobe.single_prefill_with_kv_cache_return_lse(q, k, v, **arguments)
        close(got, want, np.float32)
        close(got_lse, lse, np.float32)
    assert not got[3].any() and np.isneginf(got_lse[3]).all()


def test_a_shifted_mask_fails():
    q, k, v = normal(np.float32, 7, HEADS, DIM), normal(np.float32, 20, KV_HEADS, DIM), normal(np.float32, 20, KV_HEADS, DIM)
    want, _ = ref.attention(q, k, v, causal=True)
    with pytest.raises(AssertionError):
        close(strobe.single_prefill_with_kv_cache(q, k, v, window_left=0), want, np.float32)
    with pytest.raises(AssertionError):
        close(strobe.single_prefill_with_kv_cache(q, k[:, ::-1], v, causal=True), want, np.float32)


class Batch:
    """Requests over pages in random order, with garbage in the pages that nobody owns."""

    def __init__(self, dtype, kv_lens, qo_lens, kv_dtype=None, layout="NHD"):
        kv_dtype = kv_dtype or dtype
        pages = [-(-n // PAGE) for n in kv_lens]
        self.indptr = np.cumsum([0, *pages]).astype(np.int32)
        self.indices = rng.permutation(sum(pages) + 3)[: sum(pages)].astype(np.int32)
        self.last = np.int32([n - (p - 1) * PAGE if p else 0 for n, p in zip(kv_lens, pages)])
        self.qo_indptr = np.cumsum([0, *qo_lens]).astype(np.int32)
        self.q = normal(dtype, sum(qo_lens), HEADS, DIM)
        cache = np.full((sum(pages) + 3, 2, PAGE, KV_HEADS, DIM), 100, np.float32)
        self.k, self.v = ([normal(kv_dtype, n, KV_HEADS, DIM) for n in kv_lens] for _ in range(2))
        for r, n in enumerate(kv_lens):
            for t in range(n):
                page = self.indices[self.indptr[r] + t // PAGE]
                cache[page, 0, t % PAGE], cache[page, 1, t % PAGE] = self.k[r][t], self.v[r][t]
        self.cache = swap(cache.astype(kv_dtype), layout)

    def want(self, **options):
        rows = [self.q[a:b] for a, b in zip(self.qo_indptr, self.qo_indptr[1:])]
        masks = options.pop("masks", [None] * len(rows))
        parts = [ref.attention(*x, mask=m, **options) for *x, m in zip(rows, self.k, self.v, masks)]
        return [np.concatenate(part) for part in zip(*parts)]


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("layout, pair", [("NHD", False), ("HND", True)])
def test_batch_decode(layout, pair, dtype):
    batch = Batch(dtype, [9, 1, 30, 0], [1, 1, 1, 1], layout=layout)
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(np.empty(16, np.uint8), layout)
    cache = (batch.cache[:, 0], batch.cache[:, 1]) if pair else batch.cache
    for options in ({}, {"window_left": 6}, {"soft_cap": 2.0}, {"sm_scale": 0.2}, {"alibi": True}):
        wrapper.plan(
            batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, q_data_type=dtype, **given(options)
        )
        want, lse = batch.want(**options)
        got, got_lse = wrapper.run(batch.q, cache, return_lse=True)
        close(got, want, dtype)
        close(got_lse, lse, np.float32)
        out = np.full_like(batch.q, np.nan)
        assert wrapper.run(batch.q, cache, out=out) is out
        np.testing.assert_array_equal(out, got)


def test_batch_decode_of_a_quantised_cache():
    batch = Batch(ref.BF16, [9, 5], [1, 1], kv_dtype=ref.E4M3)
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None)
    wrapper.plan(
        batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, q_data_type="bfloat16",
        kv_data_type="float8_e4m3fn",
    )  # fmt: skip
    indices = batch.indices.copy()
    batch.indices[:] = 0  # the plan has a copy, also for the second plan that other scales need
    got = wrapper.run(batch.q, batch.cache, q_scale=2.0, k_scale=0.5, v_scale=3.0)
    batch.indices[:] = indices
    close(got.astype(np.float32) / 3, batch.want()[0], ref.BF16)
    close(wrapper.run(batch.q, batch.cache), batch.want()[0], ref.BF16)
    close(wrapper.run(batch.q, batch.cache, k_scale=0.1), batch.want(sm_scale=0.1 / np.sqrt(DIM))[0], ref.BF16)


def test_e4m3_with_scales_by_head():
    q, k, v = normal(ref.E4M3, 7, HEADS, DIM), normal(ref.E4M3, 20, KV_HEADS, DIM), normal(ref.E4M3, 20, KV_HEADS, DIM)
    scales = [np.float32(rng.uniform(0.5, 1.5, heads)) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    scaled = [x.astype(np.float64) * scale[:, None] for x, scale in zip((q, k, v), scales)]
    want, lse = ref.attention(*scaled, causal=True)
    got = strobe.single_prefill_with_kv_cache(q, k, v, *scales, causal=True)
    assert got.dtype == np.float16
    close(got, want, np.float16)
    wrapper = strobe.BatchPrefillWithRaggedKVCacheWrapper(None)
    fp8 = {"q_data_type": "float8_e4m3fn", "kv_data_type": "float8_e4m3fn"}
    wrapper.plan(np.int32([0, 7]), np.int32([0, 20]), HEADS, KV_HEADS, DIM, causal=True, o_data_type="bfloat16", **fp8)
    got, got_lse = wrapper.run(q, k, v, *scales, return_lse=True)
    assert got.dtype == ref.BF16
    close(got, want, ref.BF16)
    close(got_lse, lse, np.float32)
    np.testing.assert_array_equal(wrapper.run(q, k, v, *scales, v_scale=2.0), 2 * got)
    close(wrapper.run(q, k, v), ref.attention(q, k, v, causal=True)[0], ref.BF16)
    with pytest.raises(ValueError, match="scale_q, scale_k and scale_v"):
        wrapper.run(q, k, v, scales[0])
    wrapper.plan(np.int32([0, 7]), np.int32([0, 20]), HEADS, KV_HEADS, DIM, q_data_type="float32")
    with pytest.raises(ValueError, match="q_scales: expected none, since q is f32"):
        wrapper.run(*[np.float32(x) for x in (q, k, v)], *scales)


def count_plans(monkeypatch):
    """A list that grows with every native plan."""
    plans = []
    for name in ("plan", "_make_again"):
        call = getattr(_attention.Planned, name)
        monkeypatch.setattr(_attention.Planned, name, lambda self, given, call=call: plans.append(1) or call(self, given))
    return plans


def test_scales_of_a_run_cost_no_plan(monkeypatch):
    batch = Batch(np.float32, [9, 5], [2, 3])
    plans = count_plans(monkeypatch)
    wrapper = strobe.BatchPrefillWithPagedKVCacheWrapper(None)
    arguments = (batch.qo_indptr, batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE)
    wrapper.plan(*arguments, q_data_type="float32", sm_scale=0.25)
    for scales in ({}, {"q_scale": 2.0}, {"k_scale": np.float32(0.5), "v_scale": np.float32([3])}, {}):
        want = batch.want(sm_scale=0.25 * float(scales.get("q_scale", 1) * scales.get("k_scale", 1)))[0]
        close(wrapper.run(batch.q, batch.cache, **scales) / scales.get("v_scale", 1), want, np.float32)
    sinks = strobe.BatchAttentionWithAttentionSinkWrapper(None)
    sinks.plan(*arguments, q_data_type="float32")
    zero = np.zeros(HEADS, np.float32)
    close(sinks.run(batch.q, batch.cache, zero, 0.5), batch.want(sm_scale=0.5, sinks=zero)[0], np.float32)
    assert len(plans) == 2


def test_a_window_of_a_run_is_that_run_s(monkeypatch):
    batch = Batch(np.float32, [9, 30], [1, 1])
    plans = count_plans(monkeypatch)
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None)
    wrapper.plan(batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, q_data_type="float32", window_left=7)
    indices = batch.indices.copy()
    batch.indices[:] = 0  # the plan has a copy
    runs = [wrapper.run(batch.q, batch.cache, window_left=w) for w in (None, 7, 3, 3, None)]
    batch.indices[:] = indices
    for got, window in zip(runs, (7, 7, 3, 3, 7)):
        close(got, batch.want(window_left=window)[0], np.float32)
    assert len(plans) == 3


def test_results_go_where_they_are_wanted():
    q, k, v = normal(np.float32, 5, HEADS, DIM), normal(np.float32, 9, KV_HEADS, DIM), normal(np.float32, 9, KV_HEADS, DIM)
    out, lse = np.full_like(q, np.nan), np.full((5, HEADS), np.nan, np.float32)
    got = strobe.single_prefill_with_kv_cache(q, k, v, return_lse=True, out=out, lse=lse)
    assert got[0] is out and got[1] is lse
    want = ref.attention(q, k, v)
    close(out, want[0], np.float32)
    close(lse, want[1], np.float32)
    assert strobe.single_decode_with_kv_cache(q[0], k, v, out=out[1], lse=lse[1], return_lse=True)[0] is not None
    close(out[1], want[0][0], np.float32)
    close(lse[1], want[1][0], np.float32)
    merged, s = np.full_like(q, np.nan), np.full_like(lse, np.nan)
    assert strobe.merge_state(q, lse, q, lse, out=merged, lse=s)[0] is merged
    close(merged, q, np.float32)
    assert strobe.merge_states(q[:, None], lse[:, None], out=merged, lse=s)[1] is s
    np.testing.assert_array_equal(s, lse)
    bits, lengths = np.empty(1, np.uint8), np.empty(1, np.int32)
    assert strobe.packbits(np.bool_([1, 0, 1]), "little", out=bits) is bits and bits[0] == 5
    assert strobe.get_seq_lens(np.int32([0, 2]), np.int32([3]), 4, out=lengths) is lengths and lengths[0] == 7
    gamma, normed = np.ones(DIM, np.float32), np.empty_like(q)
    assert strobe.layernorm(q, gamma, gamma, out=normed) is normed
    np.testing.assert_array_equal(normed, strobe.layernorm(q, gamma, gamma))


def test_batch_decode_of_several_tokens_a_request():
    batch = Batch(np.float32, [9, 5, 12], [3, 3, 3])
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None, use_tensor_cores=True)
    wrapper.plan(
        batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, q_data_type="float32", q_len_per_req=3
    )
    close(wrapper.run(batch.q, batch.cache), batch.want(causal=True)[0], np.float32)
    assert wrapper.use_tensor_cores and not wrapper.is_cuda_graph_enabled


def test_names_of_old_and_of_engines():
    batch = Batch(np.float32, [9, 5], [1, 1])
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None)
    with pytest.raises(ValueError, match="run: expected plan to be called before it"):
        wrapper.run(batch.q, batch.cache)
    arguments = (batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE)
    wrapper.begin_forward(*arguments, data_type="float32")
    want, lse = batch.want()
    close(wrapper.forward(batch.q, batch.cache), want, np.float32)
    close(wrapper.forward(batch.q, batch.cache, logits_soft_cap=1.0), batch.want(soft_cap=1.0)[0], np.float32)
    close(wrapper.run_return_lse(batch.q, batch.cache)[1], batch.want(soft_cap=1.0)[1], np.float32)
    wrapper.end_forward()
    junk = np.zeros_like(batch.indptr)
    strobe.fast_decode_plan(wrapper, junk, *arguments[1:], q_data_type="float32", global_override_indptr_cpu=batch.indptr)
    close(wrapper.run(batch.q, batch.cache, return_lse=True)[1], lse, np.float32)
    float_bytes, int_bytes = wrapper.workspace_size(*arguments, q_data_type="float32")
    assert float_bytes > 0 and int_bytes == 0


def test_wrappers_for_cuda_graphs_have_fixed_sizes():
    batch = Batch(np.float32, [9, 5], [1, 1])
    buffers = np.zeros(3, np.int32), np.zeros(6, np.int32), np.zeros(2, np.int32)
    wrapper = strobe.CUDAGraphBatchDecodeWithPagedKVCacheWrapper(None, *buffers)
    arguments = (HEADS, KV_HEADS, DIM, PAGE)
    wrapper.plan(batch.indptr, batch.indices, batch.last, *arguments, q_data_type="float32")
    close(wrapper.run(batch.q, batch.cache), batch.want()[0], np.float32)
    with pytest.raises(ValueError, match="last_page_len: expected the batch size 2 of the buffers .*, got 1"):
        wrapper.plan(batch.indptr[:2], batch.indices, batch.last[:1], *arguments)
    with pytest.raises(ValueError, match="indices: expected at most 6 pages, .*, got 7"):
        wrapper.plan(batch.indptr, np.zeros(7, np.int32), batch.last, *arguments)
    with pytest.raises(ValueError, match="paged_kv_indices_buffer: expected one with use_cuda_graph, got nothing"):
        strobe.BatchDecodeWithPagedKVCacheWrapper(None, "NHD", True, False, buffers[0], None, buffers[2])


@pytest.mark.parametrize("layout", ["NHD", "HND"])
@pytest.mark.parametrize("options", OPTIONS)
def test_batch_prefill_paged(options, layout):
    batch = Batch(np.float32, [9, 20, 4, 0], [2, 5, 4, 1], layout=layout)
    wrapper = strobe.BatchPrefillWithPagedKVCacheWrapper(np.empty(1, np.uint8), layout)
    wrapper.plan(
        batch.qo_indptr, batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, q_data_type="float32",
        **given(options),
    )  # fmt: skip
    want, lse = batch.want(**options)
    got, got_lse = wrapper.run(batch.q, batch.cache, return_lse=True)
    close(got, want, np.float32)
    close(got_lse, lse, np.float32)


def test_batch_prefill_with_custom_masks():
    batch = Batch(np.float32, [9, 20], [3, 5])
    masks = [rng.random((3, 9)) < 0.5, rng.random((5, 20)) < 0.5]
    want = batch.want(masks=masks)[0]
    flat = np.concatenate([m.reshape(-1) for m in masks])
    packed = np.concatenate([np.packbits(m.reshape(-1), bitorder="little") for m in masks])
    wrapper = strobe.BatchPrefillWithPagedKVCacheWrapper(None)
    arguments = (batch.qo_indptr, batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE)
    ragged = strobe.BatchPrefillWithRaggedKVCacheWrapper(None)
    k, v = np.concatenate(batch.k), np.concatenate(batch.v)
    for mask in ({"custom_mask": flat}, {"packed_custom_mask": packed}):
        wrapper.plan(*arguments, q_data_type="float32", **mask)
        close(wrapper.run(batch.q, batch.cache), want, np.float32)
        ragged.plan(batch.qo_indptr, np.int32([0, 9, 29]), HEADS, KV_HEADS, DIM, q_data_type="float32", **mask)
        close(ragged.run(batch.q, k, v), want, np.float32)


def test_multi_item_scoring():
    prefixes, items = [4, 6], [[0, 1, 2, 0, 1, 2, 3, 0], [0, 1, 0, 1]]
    batch = Batch(np.float32, [12, 10], [12, 4])
    masks = []
    for kv_len, qo_len, prefix, positions in zip((12, 10), (12, 4), prefixes, items):
        item = [-1] * prefix + np.cumsum([t == 0 for t in positions]).tolist()
        delimiter = [False] * prefix + [t == 0 for t in positions]
        sees = [
            [j <= p and (j < prefix or (item[j] == item[p] and not delimiter[j] and not delimiter[p])) for j in range(kv_len)]
            for p in range(kv_len - qo_len, kv_len)
        ]
        masks.append(np.bool_(sees))
    want, lse = batch.want(masks=masks)
    stride = max(map(len, items))
    scoring = dict(
        prefix_len_ptr=np.uint32(prefixes), token_pos_in_items_len=stride,
        token_pos_in_items_ptr=np.uint16([p + [0] * (stride - len(p)) for p in items]), q_data_type="float32",
    )  # fmt: skip
    wrapper = strobe.BatchPrefillWithPagedKVCacheWrapper(None)
    arguments = (batch.qo_indptr, batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE)
    wrapper.plan(*arguments, **scoring)
    got, got_lse = wrapper.run(batch.q, batch.cache, return_lse=True)
    close(got, want, np.float32)
    close(got_lse, lse, np.float32)
    ragged = strobe.BatchPrefillWithRaggedKVCacheWrapper(None)
    ragged.plan(batch.qo_indptr, np.int32([0, 12, 22]), HEADS, KV_HEADS, DIM, **scoring)
    close(ragged.run(batch.q, np.concatenate(batch.k), np.concatenate(batch.v)), want, np.float32)
    with pytest.raises(ValueError, match="token_pos_in_items_ptr: expected a position for each of the 8 tokens .*, got 5"):
        wrapper.plan(*arguments, **{**scoring, "token_pos_in_items_len": 5})
    with pytest.raises(ValueError, match="expected both or neither"):
        wrapper.plan(*arguments, prefix_len_ptr=np.uint32(prefixes))


def test_sinks_and_output_dtype():
    batch = Batch(ref.BF16, [9, 20], [2, 5])
    sinks = normal(np.float32, HEADS)
    wrapper = strobe.BatchPrefillWithPagedKVCacheWrapper(None)
    wrapper.plan(
        batch.qo_indptr, batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, causal=True,
        q_data_type=ref.BF16, o_data_type=np.float32,
    )  # fmt: skip
    got, lse = wrapper.run(batch.q, batch.cache, sinks=sinks, return_lse=True)
    want, want_lse = batch.want(causal=True, sinks=sinks)
    assert got.dtype == np.float32
    close(got, want, ref.BF16)
    close(lse, want_lse, np.float32)
    close(wrapper.forward(batch.q, batch.cache, causal=False), batch.want()[0], ref.BF16)


@pytest.mark.parametrize("options", OPTIONS)
def test_batch_prefill_ragged(options):
    batch = Batch(np.float32, [9, 20, 4], [2, 5, 4])
    wrapper = strobe.BatchPrefillWithRaggedKVCacheWrapper(np.empty(1, np.uint8))
    kv_indptr = np.int32([0, 9, 29, 33])
    wrapper.plan(batch.qo_indptr, kv_indptr, HEADS, KV_HEADS, DIM, q_data_type="float32", **given(options))
    want, lse = batch.want(**options)
    k, v = np.concatenate(batch.k), np.concatenate(batch.v)
    got, got_lse = wrapper.run(batch.q, k, v, return_lse=True)
    close(got, want, np.float32)
    close(got_lse, lse, np.float32)
    close(wrapper.forward_return_lse(batch.q, k, v, v_scale=2.0)[0] / 2, want, np.float32)


def test_deterministic_plans_do_not_see_their_neighbours():
    kv_lens = [700, 3000, 40]
    batch = Batch(np.float32, kv_lens, [1, 1, 1])
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None)
    for fixed in ({"fixed_split_size": 64}, {"disable_split_kv": True}):
        arguments = dict(q_data_type="float32", **fixed)
        wrapper.plan(batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, **arguments)
        together = wrapper.run(batch.q, batch.cache)
        for r in range(3):
            pages = batch.indices[batch.indptr[r] : batch.indptr[r + 1]]
            wrapper.plan(np.int32([0, len(pages)]), pages, batch.last[r : r + 1], HEADS, KV_HEADS, DIM, PAGE, **arguments)
            np.testing.assert_array_equal(wrapper.run(batch.q[r : r + 1], batch.cache)[0], together[r])


def test_what_is_refused():
    batch = Batch(np.float32, [9], [1])
    arguments = (batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE)
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None)
    with pytest.raises(ValueError, match="kv_layout: expected NHD or HND, got 'HDN'"):
        strobe.BatchDecodeWithPagedKVCacheWrapper(None, "HDN")
    with pytest.raises(strobe.Unsupported, match="backend: expected one of auto, fa2, fa3, .*, got 'trtllm-gen'"):
        strobe.BatchDecodeWithPagedKVCacheWrapper(None, backend="trtllm-gen")
    with pytest.raises(ValueError, match="pos_encoding_mode: expected one of NONE, ROPE_LLAMA, ALIBI, got 'ROPE'"):
        wrapper.plan(*arguments, pos_encoding_mode="ROPE")
    with pytest.raises(ValueError, match="dtype: expected one of .*, got float64"):
        wrapper.plan(*arguments, q_data_type=np.float64)
    with pytest.raises(ValueError, match="num_qo_heads: expected a positive multiple of num_kv_heads = 2, got 5"):
        wrapper.plan(*arguments[:3], 5, KV_HEADS, DIM, PAGE)
    with pytest.raises(ValueError, match="run: expected plan to be called before it"):  # that plan has failed
        wrapper.run(batch.q, batch.cache)
    wrapper.plan(*arguments, q_data_type="float16")
    with pytest.raises(ValueError, match="q: expected dtype f16 as planned, got f32"):
        wrapper.run(batch.q, batch.cache)
    with pytest.raises(strobe.Unsupported, match="kv_cache_sf: expected none"):
        wrapper.run(batch.q, batch.cache, kv_cache_sf=batch.q)
    with pytest.raises(strobe.Unsupported, match="backend 'cuda/sm80'"):
        strobe.single_prefill_with_kv_cache(batch.q, batch.k[0], batch.v[0], backend="fa2")
    with pytest.raises(ValueError, match="q_scales: expected none, since q is f32"):
        strobe.single_prefill_with_kv_cache(batch.q, batch.k[0], batch.v[0], scale_q=np.ones(HEADS))
    with pytest.raises(strobe.Unsupported, match="BatchDecodeMlaWithPagedKVCacheWrapper: Strobe has no such operator"):
        strobe.decode.BatchDecodeMlaWithPagedKVCacheWrapper(None)


def test_batch_attention_of_any_mixture():
    batch = Batch(np.float32, [9, 20, 1], [1, 5, 1])
    kv_len = np.int32([9, 20, 1])
    attention = strobe.BatchAttention(device="cpu")
    attention.plan(
        batch.qo_indptr, batch.indptr, batch.indices, kv_len, HEADS, KV_HEADS, DIM, DIM, PAGE, causal=True,
        q_data_type="float32", kv_data_type="float32",
    )  # fmt: skip
    for want, got in zip(batch.want(causal=True), attention.run(batch.q, batch.cache)):
        close(got, want, np.float32)
    close(attention.run(batch.q, batch.cache, logits_soft_cap=2.0)[0], batch.want(causal=True, soft_cap=2.0)[0], np.float32)


def test_batch_attention_with_sinks():
    batch, sinks = Batch(np.float32, [9, 20], [2, 5]), normal(np.float32, HEADS)
    wrapper = strobe.BatchAttentionWithAttentionSinkWrapper(None)
    wrapper.plan(
        batch.qo_indptr, batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, causal=True,
        q_data_type="float32",
    )  # fmt: skip
    close(wrapper.run(batch.q, batch.cache, sinks), batch.want(causal=True, sinks=sinks)[0], np.float32)
    close(wrapper.run(batch.q, batch.cache, sinks, 0.2), batch.want(causal=True, sinks=sinks, sm_scale=0.2)[0], np.float32)


def test_sinks_by_jit_args():
    """FlashInfer's variant text for sinks is built in; its runs bring sinks and sm_scale behind the tensors."""
    batch, sinks = Batch(np.float32, [9, 20], [2, 5]), normal(np.float32, HEADS)
    jit_args = ("sinks", *["float32"] * 3, "int32", DIM, DIM, ["sink"], ["float"], ["sm_scale"], ["double"], "AttentionSink", SINKS)
    wrapper = strobe.BatchPrefillWithPagedKVCacheWrapper(None, jit_args=jit_args, jit_kwargs={"use_sliding_window": False})
    wrapper.plan(batch.qo_indptr, batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE, causal=True, q_data_type="float32")
    want = batch.want(causal=True, sinks=sinks, sm_scale=0.2)[0]
    close(wrapper.run(batch.q, batch.cache, sinks, 0.2), want, np.float32)
    close(wrapper.run(batch.q, batch.cache, sinks, 0.1, q_scale=2.0), want, np.float32)
    with pytest.raises(TypeError, match="run: expected sinks, sm_scale after the tensors of attention, got 1 values"):
        wrapper.run(batch.q, batch.cache, sinks)



@pytest.mark.parametrize("causal", [False, True])
def test_cascade_is_attention_over_the_concatenation(causal):
    prefix, own, qo_lens = 11, [7, 9], [3, 4]
    batch = Batch(np.float32, [prefix, *own], [0, *qo_lens])
    k, v = batch.k, batch.v
    whole = [
        ref.attention(batch.q[a:b], np.concatenate([k[0], k[r]]), np.concatenate([v[0], v[r]]), causal=causal)[0]
        for r, a, b in ((1, 0, 3), (2, 3, 7))
    ]
    pages = batch.indptr
    first, rest = batch.indices[: pages[1]], batch.indices[pages[1] :]
    wrapper = strobe.MultiLevelCascadeAttentionWrapper(2, np.empty(1, np.uint8))
    arguments = (
        [np.int32([0, 7]), np.int32([0, 3, 7])], [np.int32([0, pages[1]]), pages[1:] - pages[1]], [first, rest],
        [batch.last[:1], batch.last[1:]], HEADS, KV_HEADS, DIM, PAGE,
    )  # fmt: skip
    wrapper.plan(*arguments, causal=causal, q_data_type="float32")
    out = np.full_like(batch.q, np.nan)
    assert wrapper.run(batch.q, batch.cache, out=out) is out
    close(out, np.concatenate(whole), np.float32)
    with pytest.raises(strobe.Unsupported, match="window_left: expected none"):
        wrapper.plan(*arguments, window_left=3)
    with pytest.raises(ValueError, match="expected index arrays of 2 levels, got"):
        wrapper.plan(*[array[:1] for array in arguments[:4]], *arguments[4:])
    shared = strobe.BatchPrefillWithSharedPrefixPagedKVCacheWrapper(None)
    with pytest.raises(ValueError, match="expected begin_forward to be called before it"):
        shared.forward(batch.q, k[0], v[0], batch.cache)
    shared.begin_forward(np.int32([0, 3, 7]), pages[1:] - pages[1], rest, batch.last[1:], HEADS, KV_HEADS, DIM, PAGE)
    close(shared.forward(batch.q, k[0], v[0], batch.cache, causal=causal), np.concatenate(whole), np.float32)


def test_decode_with_a_shared_prefix():
    batch = Batch(np.float32, [11, 7, 9], [0, 1, 1])
    k, v, pages = batch.k, batch.v, batch.indptr
    want = [
        ref.attention(batch.q[r - 1 : r], np.concatenate([k[0], k[r]]), np.concatenate([v[0], v[r]]))[0] for r in (1, 2)
    ]
    shared = strobe.BatchDecodeWithSharedPrefixPagedKVCacheWrapper(None)
    shared.begin_forward(
        pages[1:] - pages[1], batch.indices[pages[1] :], batch.last[1:], HEADS, KV_HEADS, DIM, PAGE, "float32"
    )
    close(shared.forward(batch.q, k[0], v[0], batch.cache), np.concatenate(want), np.float32)


def test_prefill_wrappers_for_cuda_graphs_have_fixed_sizes():
    batch = Batch(np.float32, [9, 5], [3, 2])
    buffers = np.zeros(3, np.int32), np.zeros(3, np.int32), np.zeros(9, np.int32), np.zeros(2, np.int32)
    wrapper = strobe.BatchPrefillWithPagedKVCacheWrapper(None, "NHD", True, *buffers)
    arguments = (batch.indptr, batch.indices, batch.last, HEADS, KV_HEADS, DIM, PAGE)
    wrapper.plan(batch.qo_indptr, *arguments, q_data_type="float32")
    close(wrapper.run(batch.q, batch.cache), batch.want()[0], np.float32)
    assert wrapper.is_cuda_graph_enabled
    with pytest.raises(ValueError, match="qo_indptr: expected the batch size 2 of the buffers .*, got 1"):
        wrapper.plan(batch.qo_indptr[:2], batch.indptr[:2], batch.indices, batch.last[:1], *arguments[3:])
    with pytest.raises(ValueError, match="qo_indptr: expected at most 5 query tokens, .*, got 6"):
        wrapper.plan(batch.qo_indptr + np.int32([0, 0, 1]), *arguments)
    with pytest.raises(ValueError, match="qo_indptr_buf: expected one with use_cuda_graph, got nothing"):
        strobe.BatchPrefillWithRaggedKVCacheWrapper(None, "NHD", True)
