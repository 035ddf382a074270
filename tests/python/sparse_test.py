"""Block-sparse attention and prefill-on-decode against dense attention with masks, in FP64."""

import numpy as np
import pytest
import reference as ref

import strobe

rng = np.random.default_rng(11)
HEADS, KV_HEADS, DIM = 4, 2, 64
WORKSPACE = np.empty(1, np.uint8)
PATTERN = {"indptr": np.int32([0, 2, 2, 5]), "indices": np.int32([3, 0, 1, 2, 4])}  # the second row block sees nothing
M, N, R, C = 21, 40, 8, 8


def normal(dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def operands(dtype):
    return normal(dtype, M, HEADS, DIM), normal(dtype, N, KV_HEADS, DIM), normal(dtype, N, KV_HEADS, DIM)


def dense_mask(blocks=None):
    """What PATTERN lets through; `blocks` [num_blocks, R, C] are masks within its blocks."""
    mask = np.zeros((M, N), bool)
    for row, (begin, end) in enumerate(zip(PATTERN["indptr"], PATTERN["indptr"][1:])):
        for block in range(begin, end):
            column = PATTERN["indices"][block] * C
            part = mask[row * R : (row + 1) * R, column : column + C]
            part[:] = True if blocks is None else blocks[block][: len(part)]
    return mask


def planned(dtype, **options):
    wrapper = strobe.BlockSparseAttentionWrapper(WORKSPACE)
    name = np.dtype(dtype).name
    wrapper.plan(
        *PATTERN.values(), M, N, R, C, HEADS, KV_HEADS, DIM, q_data_type=name, o_data_type=name, **options
    )
    return wrapper


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_of_one_size(dtype, masked):
    q, k, v = operands(dtype)
    blocks = rng.random((5, R, C)) < 0.5 if masked else None
    want, want_lse = ref.attention(q, k, v, mask=dense_mask(blocks))
    out, lse = planned(dtype, mask=blocks).run(q, k, v, return_lse=True)
    ref.close(out, want, dtype, 256, scale=1)
    ref.close(lse, want_lse, np.float32, 256, scale=1)
    assert np.all(np.asarray(out, np.float32)[R : 2 * R] == 0) and np.all(lse[R : 2 * R] == -np.inf)


def test_the_old_form_gives_attributes_again():
    q, k, v = operands(np.float32)
    wrapper = planned(np.float32, sm_scale=0.5)
    for options, given in (({"sm_scale": 0.5}, None), ({}, {}), ({"soft_cap": 2.0, "sm_scale": 0.3}, {"logits_soft_cap": 2.0, "sm_scale": 0.3})):
        got = wrapper.run(q, k, v) if given is None else wrapper.forward(q, k, v, **given)
        ref.close(got, ref.attention(q, k, v, mask=dense_mask(), **options)[0], np.float32, 256, scale=1)
    rows, columns = np.int32([[M]]), np.int32([[N]])
    variable = strobe.VariableBlockSparseAttentionWrapper(WORKSPACE)
    variable.plan(np.bool_([[[1]]]), rows, columns, 1, 1, DIM, q_data_type="float32")
    q, k, v = (np.ascontiguousarray(x[:, :1].swapaxes(0, 1)) for x in (q, k, v))
    want = ref.attention(*(x.swapaxes(0, 1) for x in (q, k, v)), sm_scale=0.4)[0].swapaxes(0, 1)
    ref.close(variable.forward(q, k, v, sm_scale=0.4), want, np.float32, 256, scale=1)


def test_another_block_fails():
    q, k, v = operands(np.float32)
    mask = dense_mask()
    mask[:R] = np.roll(mask[:R], C, axis=1)
    with pytest.raises(AssertionError):
        ref.close(planned(np.float32).run(q, k, v), ref.attention(q, k, v, mask=mask)[0], np.float32, 256, scale=1)


def test_variable_blocks():
    rows, columns = np.int32([[5, 0, 16], [9, 9, 3]]), np.int32([[4, 36], [20, 20]])
    seen = np.bool_([[[1, 0], [1, 1], [0, 1]], [[0, 1], [0, 0], [1, 1]]])
    q, k, v = (normal(np.float32, heads, n, DIM) for heads, n in ((HEADS, M), (KV_HEADS, N), (KV_HEADS, N)))
    wrapper = strobe.VariableBlockSparseAttentionWrapper(WORKSPACE)
    wrapper.plan(seen, rows, columns, HEADS, KV_HEADS, DIM, q_data_type="float32")
    out, lse = wrapper.run(q, k, v, return_lse=True)
    other = np.empty_like(q)
    wrapper.run(q, k, v, out=other)
    assert np.array_equal(other, out)
    for head in range(HEADS):
        of = head // 2
        mask = np.repeat(np.repeat(seen[of], rows[of], axis=0), columns[of], axis=1)
        want, want_lse = ref.attention(q[head][:, None], k[of][:, None], v[of][:, None], mask=mask)
        ref.close(out[head][:, None], want, np.float32, 256, scale=1)
        ref.close(lse[head][:, None], want_lse, np.float32, 256, scale=1)


def test_what_is_refused():
    q, k, v = operands(np.float32)
    wrapper = strobe.BlockSparseAttentionWrapper(WORKSPACE)
    with pytest.raises(ValueError, match="expected plan to be called before it"):
        wrapper.run(q, k, v)
    with pytest.raises(ValueError, match="N to be a multiple of C, got N = 41"):
        wrapper.plan(*PATTERN.values(), M, 41, R, C, HEADS, KV_HEADS, DIM)
    with pytest.raises(ValueError, match="an indptr of 4 numbers from 0 to 5, got 3"):
        wrapper.plan(PATTERN["indptr"][:3], PATTERN["indices"], M, N, R, C, HEADS, KV_HEADS, DIM)
    with pytest.raises(ValueError, match=r"indices in \[0, 5\), got \[5\]"):
        wrapper.plan(PATTERN["indptr"], PATTERN["indices"] + 1, M, N, R, C, HEADS, KV_HEADS, DIM)
    with pytest.raises(ValueError, match="40 rows of k as planned, got 39"):
        planned(np.float32).run(q, k[1:], v)
    with pytest.raises(strobe.Unsupported, match="scale_q"):
        planned(np.float32).run(q, k, v, scale_q=np.ones(HEADS))
    variable = strobe.VariableBlockSparseAttentionWrapper(WORKSPACE)
    with pytest.raises(ValueError, match="the same sum of block_col_sz for every head"):
        variable.plan(np.ones((2, 1, 1), bool), np.int32([[3], [3]]), np.int32([[3], [4]]), 2, 2, DIM)


def paged(kv_lens, page=4):
    pages = [-(-n // page) for n in kv_lens]
    indptr = np.cumsum([0, *pages]).astype(np.int32)
    last = np.int32([n - (p - 1) * page for n, p in zip(kv_lens, pages)])
    cache = normal(np.float32, sum(pages), 2, page, KV_HEADS, DIM)
    rows = [cache[a:b].swapaxes(1, 2).reshape(-1, 2, KV_HEADS, DIM)[:n] for a, b, n in zip(indptr, indptr[1:], kv_lens)]
    return (indptr, np.arange(sum(pages), dtype=np.int32), last), cache, [(x[:, 0], x[:, 1]) for x in rows]


def test_prefill_on_decode():
    decode, cache, kv = paged([9, 4])
    sizes = ((7, HEADS), (12, KV_HEADS), (12, KV_HEADS), (2, HEADS))
    q_p, k_p, v_p, q_d = (normal(np.float32, n, heads, DIM) for n, heads in sizes)
    wrapper = strobe.PODWithPagedKVCacheWrapper(WORKSPACE)
    wrapper.plan(*decode, HEADS, KV_HEADS, DIM, 4, q_data_type="float32")
    for scale in (None, 0.3):  # of decode, in the run
        (p, lse), d = wrapper.run(q_p, k_p, v_p, q_d, cache, causal_p=True, sm_scale_d=scale, return_lse_p=True)
        want, want_lse = ref.attention(q_p, k_p, v_p, causal=True)
        ref.close(p, want, np.float32, 256, scale=1)
        ref.close(lse, want_lse, np.float32, 256, scale=1)
        options = {} if scale is None else {"sm_scale": scale}
        for r in range(2):
            ref.close(d[r : r + 1], ref.attention(q_d[r : r + 1], *kv[r], **options)[0], np.float32, 256, scale=1)
    with pytest.raises(ValueError, match="kv_layout_d: expected NHD"):
        wrapper.run(q_p, k_p, v_p, q_d, cache, kv_layout_d="HND")


def test_batched_prefill_on_decode():
    prefill, cache_p, kv_p = paged([10, 6])
    decode, cache_d, kv_d = paged([5])
    q_p, q_d = normal(np.float32, 7, HEADS, DIM), normal(np.float32, 1, HEADS, DIM)
    wrapper = strobe.BatchPODWithPagedKVCacheWrapper(WORKSPACE)
    parts = (np.int32([0, 4, 7]), *prefill, np.int32([0, 1]), *decode)
    wrapper.plan(*parts, HEADS, KV_HEADS, DIM, 4, q_data_type="float32")
    for causal in (False, True):
        p, d = wrapper.run(q_p, cache_p, q_d, cache_d, causal_p=causal)
        for rows, kv in (((0, 4), kv_p[0]), ((4, 7), kv_p[1])):
            want = ref.attention(q_p[slice(*rows)], *kv, causal=causal)[0]
            ref.close(p[slice(*rows)], want, np.float32, 256, scale=1)
        ref.close(d, ref.attention(q_d, *kv_d[0])[0], np.float32, 256, scale=1)
