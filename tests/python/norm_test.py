"""Norms against FP64, over dtypes, ranks and strides."""

import numpy as np
import pytest
import reference as ref

import strobe

EPS = 1e-5
rng = np.random.default_rng(1)


def rows(dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("shape", [(1, 8), (5, 96), (3, 4, 64)])
@pytest.mark.parametrize("function, offset", [(strobe.rmsnorm, 0.0), (strobe.gemma_rmsnorm, 1.0)])
def test_rmsnorm(function, offset, shape, dtype):
    x, w = rows(dtype, *shape), rows(dtype, shape[-1])
    want = ref.rmsnorm(x, w, EPS, offset)
    out = function(x, w, EPS)
    assert out.dtype == x.dtype
    ref.close(out, want, dtype, shape[-1])
    given = np.full(shape, np.nan, dtype)
    assert function(x, w, EPS, out=given) is given
    ref.close(given, want, dtype, shape[-1])


def test_eps_matters():
    x, w = np.full((1, 8), 1e-3, np.float32), np.ones(8, np.float32)
    ref.close(strobe.rmsnorm(x, w, eps=1e-6), ref.rmsnorm(x, w, 1e-6), np.float32)
    assert strobe.rmsnorm(x, w, eps=0.0)[0, 0] == pytest.approx(1)
    assert strobe.rmsnorm(x, w)[0, 0] == pytest.approx(0.7071, abs=1e-4)  # eps is 1e-6 by default


def test_rmsnorm_of_strided_rows():
    fused = rows(np.float32, 6, 3, 64)
    x, w = fused[:, 1], rows(np.float32, 64)
    ref.close(strobe.rmsnorm(x, w, EPS), ref.rmsnorm(x, w, EPS), np.float32, 64)
    with pytest.raises(ValueError, match=r"rmsnorm: input: expected stride 1 on the innermost axis, got f32\[3, 64\]"):
        strobe.rmsnorm(np.asfortranarray(fused[0]), w, EPS)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("function, offset", [(strobe.fused_add_rmsnorm, 0.0), (strobe.gemma_fused_add_rmsnorm, 1.0)])
def test_fused_add_rmsnorm(function, offset, dtype):
    x, residual, w = rows(dtype, 7, 48), rows(dtype, 7, 48), rows(dtype, 48)
    total = x.astype(np.float64) + residual.astype(np.float64)
    assert function(x, residual, w, EPS) is None
    ref.close(residual, total, dtype)
    ref.close(x, ref.rmsnorm(total, w, EPS, offset), dtype, 48)


@pytest.mark.parametrize("out_dtype", [ref.E4M3, ref.E5M2])
def test_quantised_norms(out_dtype):
    x, residual, w = rows(ref.BF16, 5, 64), rows(ref.BF16, 5, 64), rows(ref.BF16, 64)
    gamma, beta = rows(np.float32, 64), rows(np.float32, 64)
    out = np.zeros((5, 64), out_dtype)
    strobe.rmsnorm_quant(out, x, w, 0.5, EPS)
    ref.close(out, ref.saturate(ref.rmsnorm(x, w, EPS) / 0.5, out_dtype), out_dtype, 64)
    strobe.rmsnorm_quant(out, x, w, np.float32([1e-4]), EPS)  # saturates
    ref.close(out, ref.saturate(ref.rmsnorm(x, w, EPS) / 1e-4, out_dtype), out_dtype, 64)
    strobe.layernorm_quant(out, x, gamma, beta, 0.5, EPS)
    ref.close(out, ref.saturate(ref.layernorm(x, gamma, beta, EPS) / 0.5, out_dtype), out_dtype, 64)
    total, before = x.astype(np.float64) + residual.astype(np.float64), x.copy()
    strobe.fused_add_rmsnorm_quant(out, x, residual, w, 0.5, EPS)
    ref.close(out, ref.saturate(ref.rmsnorm(total, w, EPS) / 0.5, out_dtype), out_dtype, 64)
    ref.close(residual, total, ref.BF16)
    np.testing.assert_array_equal(x.view(np.uint16), before.view(np.uint16))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_layernorm(dtype):
    x, gamma, beta = rows(dtype, 6, 80), rows(np.float32, 80), rows(np.float32, 80)
    ref.close(strobe.layernorm(x, gamma, beta, EPS), ref.layernorm(x, gamma, beta, EPS), dtype, 80)


def test_a_shifted_weight_fails():
    x, w = rows(np.float32, 5, 96), rows(np.float32, 96)
    with pytest.raises(AssertionError):
        ref.close(strobe.rmsnorm(x, np.roll(w, 1), EPS), ref.rmsnorm(x, w, EPS), np.float32, 96)
