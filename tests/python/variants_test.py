"""Attention variants from Python: jit_args of the wrappers and the functions with a module, in both spellings."""

import numpy as np
import pytest
import strobe
from strobe import jit
from strobe.variants import AttentionVariant

HEADS, KV_HEADS, DIM = 4, 2, 16
F32 = "float32"

# Sigmoid attention in FlashInfer's spelling.
SIGMOID = r"""
struct FlashSigmoid : AttentionVariantBase {
  static constexpr bool use_softmax = false;
  uint32_t window_left, qo_len, kv_len;
  float sigmoid_scale_log2, sigmoid_bias_log2;
  template <typename Params>
  __device__ __host__ FlashSigmoid(const Params& params, uint32_t batch_idx, uint8_t* smem_ptr) {
    qo_len = params.get_qo_len(batch_idx);
    kv_len = params.get_kv_len(batch_idx);
    window_left = kv_len;
    sigmoid_scale_log2 = params.logits_scale * math::log2e;
    sigmoid_bias_log2 = params.sigmoid_bias * math::log2e;
  }
  REGISTER_LOGITS_TRANSFORM(params, logits, batch_idx, qo_idx, kv_idx, qo_head_idx, kv_head_idx, {
    return math::ptx_rcp(1.f + math::ptx_exp2(-(logits * sigmoid_scale_log2 + sigmoid_bias_log2)));
  })
};
"""
# A mask in bits and slopes, which the wrappers fill in.
WELL_KNOWN = r"""
struct WellKnown : AttentionVariantBase {
  static constexpr bool use_softmax = true;
  uint32_t window_left, qo_len, kv_len;
  float sm_scale_log2;
  template <typename Params>
  __device__ __host__ WellKnown(const Params& params, uint32_t batch_idx, uint8_t* smem_ptr) {
    qo_len = params.qo_len;
    kv_len = params.kv_len;
    window_left = kv_len;
    sm_scale_log2 = params.sm_scale * math::log2e;
  }
  REGISTER_LOGITS_TRANSFORM(params, logits, batch_idx, qo_idx, kv_idx, qo_head_idx, kv_head_idx, {
    const int distance = int(kv_idx) - int(kv_len - qo_len + qo_idx);
    return params.maybe_alibi_slopes ? logits + params.maybe_alibi_slopes[qo_head_idx] * distance : logits;
  })
  REGISTER_LOGITS_MASK(params, batch_idx, qo_idx, kv_idx, qo_head_idx, kv_head_idx, {
    if (params.maybe_custom_mask == nullptr) return true;
    const uint8_t* mask = params.maybe_custom_mask + params.maybe_mask_indptr[batch_idx];
    const uint32_t bit = qo_idx * kv_len + kv_idx;
    if (kv_idx >= kv_len) printf("a token behind the end: %u\n", kv_idx);  // texts may print, as on GPUs
    return (mask[bit / 8] >> (bit % 8) & 1) != 0;
  })
};
"""


def jit_args(name, text, tensors=(), tensor_dtypes=(), scalars=(), scalar_dtypes=(), idtype=("int32",)):
    return (name, F32, F32, F32, *idtype, DIM, DIM, list(tensors), list(tensor_dtypes), list(scalars),
            list(scalar_dtypes), name, text)  # fmt: skip


def sigmoid_args(**kwargs):
    return jit_args("FlashSigmoid", SIGMOID, scalars=["logits_scale", "sigmoid_bias"], scalar_dtypes=["float", "double"],
                    **kwargs)  # fmt: skip


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def logits_of(q, k):
    k = np.repeat(k.astype(np.float64), HEADS // KV_HEADS, axis=1)
    return np.einsum("ihd,jhd->hij", q.astype(np.float64), k)


def weighted(weights, v):
    return np.einsum("hij,jhd->ihd", weights, np.repeat(v.astype(np.float64), HEADS // KV_HEADS, axis=1))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(q, k, v, scale, bias, allowed=True):
    return weighted(np.where(allowed, 1 / (1 + np.exp(-(logits_of(q, k) * scale + bias))), 0), v)


def test_batch_prefill_over_ragged_and_paged_kv():
    q, k, v = normal(7, HEADS, DIM), normal(12, KV_HEADS, DIM), normal(12, KV_HEADS, DIM) + 1
    causal = np.arange(12) <= np.arange(7)[:, None] + 5
    expected = sigmoid(q, k, v, 0.25, -1.0, causal)
    ragged = strobe.BatchPrefillWithRaggedKVCacheWrapper(np.empty(1, np.uint8), jit_args=sigmoid_args())
    ragged.plan(np.int32([0, 7]), np.int32([0, 12]), HEADS, KV_HEADS, DIM, causal=True, q_data_type=F32)
    np.testing.assert_allclose(ragged.run(q, k, v, 0.25, -1.0), expected, atol=1e-5)
    assert np.abs(ragged.run(q, k, v, 0.25, 1.0) - expected).max() > 0.1
    paged = strobe.BatchPrefillWithPagedKVCacheWrapper(np.empty(1, np.uint8), jit_args=sigmoid_args())
    cache = np.stack([k.reshape(3, 4, KV_HEADS, DIM), v.reshape(3, 4, KV_HEADS, DIM)], axis=1)[::-1].copy()
    paged.plan(np.int32([0, 7]), np.int32([0, 3]), np.int32([2, 1, 0]), np.int32([4]), HEADS, KV_HEADS, DIM, 4,
               causal=True, q_data_type=F32)  # fmt: skip
    np.testing.assert_allclose(paged.run(q, cache, 0.25, -1.0, v_scale=2.0), 2 * expected, atol=1e-5)


def test_batch_decode():
    q, k, v = normal(1, HEADS, DIM), normal(8, KV_HEADS, DIM), normal(8, KV_HEADS, DIM)
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None, jit_args=sigmoid_args())
    cache = (k.reshape(2, 4, KV_HEADS, DIM), v.reshape(2, 4, KV_HEADS, DIM))
    wrapper.plan(np.int32([0, 2]), np.int32([0, 1]), np.int32([4]), HEADS, KV_HEADS, DIM, 4, q_data_type=F32)
    np.testing.assert_allclose(wrapper.run(q, cache, 0.5, 0.0), sigmoid(q, k, v, 0.5, 0.0), atol=1e-5)
    for layout in ("NHD", "HND"):  # pages of one token, without their axis
        wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None, layout, jit_args=sigmoid_args())
        wrapper.plan(np.int32([0, 8]), np.arange(8, dtype=np.int32), np.int32([1]), HEADS, KV_HEADS, DIM, 1, q_data_type=F32)
        np.testing.assert_allclose(wrapper.run(q, (k, v), 0.5, 0.0), sigmoid(q, k, v, 0.5, 0.0), atol=1e-5)


def test_mask_and_slopes_come_from_the_plan():
    tensors = ["maybe_custom_mask", "maybe_mask_indptr", "maybe_alibi_slopes"]
    args = jit_args("WellKnown", WELL_KNOWN, tensors, ["uint8_t", "int32_t", "float"], ["sm_scale"], ["double"])
    q, k, v = normal(3, HEADS, DIM), normal(5, KV_HEADS, DIM), normal(5, KV_HEADS, DIM)
    mask = np.random.default_rng(1).random((3, 5)) < 0.6
    mask[:, 0] = True
    wrapper = strobe.BatchPrefillWithRaggedKVCacheWrapper(np.empty(1, np.uint8), jit_args=args)
    index = np.int32([0, 3]), np.int32([0, 5])
    wrapper.plan(*index, HEADS, KV_HEADS, DIM, custom_mask=mask.reshape(-1), q_data_type=F32)
    logits = np.where(mask, logits_of(q, k) * 0.3, -np.inf)
    np.testing.assert_allclose(wrapper.run(q, k, v, 0.3), weighted(softmax(logits), v), atol=1e-5)
    wrapper.plan(*index, HEADS, KV_HEADS, DIM, pos_encoding_mode="ALIBI", q_data_type=F32)
    slopes = np.array([0.25, 0.0625, 0.015625, 0.00390625])[:, None, None]
    distance = np.arange(5) - (np.arange(3)[:, None] + 2)
    logits = (logits_of(q, k) + slopes * distance) * 0.3
    out, lse = wrapper.run(q, k, v, 0.3, return_lse=True)
    np.testing.assert_allclose(out, weighted(softmax(logits), v), atol=1e-5)
    np.testing.assert_allclose(lse.T, np.log2(np.exp(logits).sum(axis=-1)), atol=1e-5)


def test_single_requests_with_a_module():
    q, k, v = normal(2, HEADS, DIM), normal(6, KV_HEADS, DIM), normal(6, KV_HEADS, DIM)
    module = jit.gen_customize_single_prefill_module("auto", *sigmoid_args(idtype=())).build_and_load()
    out = strobe.single_prefill_with_kv_cache_with_jit_module(module, q, k, v, 0.25, 0.5)
    np.testing.assert_allclose(out, sigmoid(q, k, v, 0.25, 0.5), atol=1e-5)
    module = jit.gen_customize_single_decode_module(*sigmoid_args(idtype=())).build_and_load()
    swapped = np.swapaxes(k, 0, 1).copy(), np.swapaxes(v, 0, 1).copy()
    out = strobe.single_decode_with_kv_cache_with_jit_module(module, q[1], *swapped, 0.25, 0.5, kv_layout="HND")
    np.testing.assert_allclose(out, sigmoid(q[1:], k, v, 0.25, 0.5)[0], atol=1e-5)


def test_a_text_may_write_to_a_tensor():
    text = """
struct Dump {
  static float logits(const Params& params, const LogitIndex& at, float logits) {
    params.dump[(at.qo_head_idx * at.qo_len + at.qo_idx) * at.kv_len + at.kv_idx] = logits;
    return logits;
  }
};
"""
    q, k, v = normal(2, HEADS, DIM), normal(6, KV_HEADS, DIM), normal(6, KV_HEADS, DIM)
    wrapper = strobe.BatchPrefillWithRaggedKVCacheWrapper(
        np.empty(1, np.uint8), jit_args=jit_args("Dump", text, ["dump"], ["float"])
    )
    wrapper.plan(np.int32([0, 2]), np.int32([0, 6]), HEADS, KV_HEADS, DIM, sm_scale=0.5, q_data_type=F32)
    dump = np.full((HEADS, 2, 6), np.nan, np.float32)
    wrapper.run(q, k, v, dump)
    np.testing.assert_allclose(dump, logits_of(q, k) * 0.5, atol=1e-5)
    dump.flags.writeable = False
    with pytest.raises(ValueError, match="run: dump: expected an array that may be written"):
        wrapper.run(q, k, v, dump)


def test_errors():
    with pytest.raises(strobe.Unsupported, match="jit_args: expected backend 'auto' or 'fa2'"):
        strobe.BatchDecodeWithPagedKVCacheWrapper(None, backend="fa3", jit_args=sigmoid_args())
    with pytest.raises(ValueError, match="jit_args: expected 12 or 13 values as FlashInfer's, got 1"):
        strobe.BatchDecodeWithPagedKVCacheWrapper(None, jit_args=["uri"])
    with pytest.raises(ValueError, match="attention variant: tensors: expected types .*, got 'half'"):
        AttentionVariant("A", "struct A {};", ["t"], ["half"])
    broken = "struct Broken {\n  static bool mask(const Params&, const LogitIndex&) { return nobody; }\n};\n"
    wrapper = strobe.BatchPrefillWithRaggedKVCacheWrapper(np.empty(1, np.uint8), jit_args=jit_args("Broken", broken))
    plan = (np.int32([0, 1]), np.int32([0, 1]), HEADS, KV_HEADS, DIM)
    with pytest.raises(RuntimeError, match="Broken:2:.*nobody"):
        wrapper.plan(*plan, q_data_type=F32)
    wrapper = strobe.BatchPrefillWithRaggedKVCacheWrapper(np.empty(1, np.uint8), jit_args=sigmoid_args())
    wrapper.plan(*plan, q_data_type=F32)
    q, k = normal(1, HEADS, DIM), normal(1, KV_HEADS, DIM)
    with pytest.raises(TypeError, match="run: expected logits_scale, sigmoid_bias after the tensors of attention"):
        wrapper.run(q, k, k, 1.0)
    with pytest.raises(ValueError, match="run: expected scale_q, scale_k and scale_v.*got 1 arguments"):
        plain = strobe.BatchPrefillWithRaggedKVCacheWrapper(np.empty(1, np.uint8))
        plain.plan(*plan, q_data_type=F32)
        plain.run(q, k, k, 1.0)
