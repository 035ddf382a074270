"""FP64 in plain numpy, written from FlashInfer's contract, not from Strobe's code."""

import math

import ml_dtypes
import numpy as np

BF16, E4M3, E5M2 = ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2
FLOATS = (np.float32, np.float16, BF16)


def epsilon(dtype):
    """Half the distance between neighbours at 1: the relative error of one rounding."""
    return float(ml_dtypes.finfo(dtype).eps) / 2


def tolerance(dtype, roundings=1, terms=1):
    """Relative error of a value that is rounded once to dtype after sums of `terms` in f32."""
    return roundings * epsilon(dtype) + 4 * math.sqrt(terms) * epsilon(np.float32)


def close(got, want, dtype, terms=1, scale=None):
    """Asserts that `got` is `want` to the tolerance of its dtype; `scale` is what errors are relative to."""
    got, want = np.asarray(got).astype(np.float64), np.asarray(want, dtype=np.float64)
    assert got.shape == want.shape and got.size > 0
    finite = np.isfinite(want)
    np.testing.assert_array_equal(np.where(finite, 0, got), np.where(finite, 0, want))
    got, want = got[finite], want[finite]
    allowed = tolerance(dtype, 2, terms) * (np.abs(want) + (np.sqrt(np.mean(want**2)) if scale is None else scale))
    worst = np.argmax(np.abs(got - want) - allowed)
    assert np.all(np.abs(got - want) <= allowed), f"got {got[worst]}, expected {want[worst]} to {allowed[worst]}"


def rmsnorm(x, weight, eps, offset=0.0):
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * (weight + offset)


def layernorm(x, gamma, beta, eps):
    x = x.astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * gamma.astype(np.float64) + beta


def saturate(x, dtype):
    most = float(ml_dtypes.finfo(dtype).max)
    return np.clip(x, -most, most)


def gated(x, function):
    x = x.astype(np.float64)
    half = x.shape[-1] // 2
    return function(x[..., :half]) * x[..., half:]


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x):
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rope_frequencies(rotary_dim, scale, theta, llama31=None):
    f = theta ** (-2 * np.arange(rotary_dim // 2) / rotary_dim)
    if llama31 is None:
        return f / scale
    low, high, old_context = llama31
    smooth = np.clip((old_context * f / (2 * math.pi) - low) / (high - low), 0, 1)
    return smooth * f + (1 - smooth) * f / scale


def rope(x, positions, frequencies, interleave):
    x = x.astype(np.float64).copy()
    angle = positions[:, None, None] * frequencies
    n = len(frequencies)
    a, b = (slice(0, 2 * n, 2), slice(1, 2 * n, 2)) if interleave else (slice(0, n), slice(n, 2 * n))
    xa, xb = x[..., a].copy(), x[..., b].copy()
    x[..., a] = xa * np.cos(angle) - xb * np.sin(angle)
    x[..., b] = xb * np.cos(angle) + xa * np.sin(angle)
    return x


def merge(v, s):
    """States on axis 1."""
    v, s = v.astype(np.float64), s.astype(np.float64)
    most = np.max(s, axis=1, keepdims=True)
    weights = np.where(np.isneginf(s), 0, np.exp2(s - np.where(np.isneginf(most), 0, most)))
    total = weights.sum(1)
    with np.errstate(divide="ignore"):
        lse = np.where(total > 0, most[:, 0] + np.log2(total), -np.inf)
    return (weights[..., None] * v).sum(1) / np.where(total > 0, total, 1)[..., None], lse


def alibi_slopes(heads):
    power = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    return np.array(slopes + [2 ** (-4 * (2 * h + 1) / power) for h in range(heads - power)])


def attention(q, k, v, mask=None, sm_scale=None, causal=False, window_left=-1, soft_cap=0.0, alibi=False, sinks=None):
    """q [qo, heads, d], k and v [kv, kv_heads, d] -> out [qo, heads, d], lse [qo, heads] in base 2."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    qo_len, heads, dim = q.shape
    kv_len, kv_heads, _ = k.shape
    k, v = (np.repeat(x, heads // kv_heads, axis=1) for x in (k, v))
    x = np.einsum("ihd,jhd->hij", q, k) * (1 / math.sqrt(dim) if sm_scale is None else sm_scale)
    position = np.arange(qo_len)[:, None] + kv_len - qo_len
    token = np.arange(kv_len)[None, :]
    if alibi:
        x = x + alibi_slopes(heads)[:, None, None] * (token - position)
    if soft_cap:
        x = soft_cap * np.tanh(x / soft_cap)
    seen = np.ones((qo_len, kv_len), bool) if mask is None else mask.copy()
    if causal:
        seen &= token <= position
    if window_left >= 0:
        seen &= token >= position - window_left
    x = np.where(seen, x, -np.inf)
    most = np.max(x, axis=-1, initial=-1e30)
    weights = np.exp(x - most[..., None])
    total = weights.sum(-1)
    if sinks is not None:
        total = total + np.exp(sinks[:, None] - most)
    out = np.einsum("hij,jhd->ihd", weights, v) / np.where(total > 0, total, 1).T[..., None]
    with np.errstate(divide="ignore"):
        lse = np.where(total > 0, (most + np.log(total)) / math.log(2), -np.inf).T
    return out, lse
