"""Root-mean-square and layer norm, alone, fused with a residual addition, and quantised to fp8.

All compute in f32 and round once. `input` is [num_tokens..., hidden] with any leading axes and strides, f32, f16
or bf16; `weight` is [hidden] of its dtype. NaN in a row makes that row NaN.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from ._errors import unsupported
from ._frameworks import framework_of
from ._native import Calls

Tensor = Any

_calls = Calls(
    rmsnorm="rmsnorm(input, weight, out, eps)",
    gemma_rmsnorm="rmsnorm(input, weight, out, eps, gemma)",
    fused_add_rmsnorm="fused_add_rmsnorm(input, residual, weight, eps)",
    gemma_fused_add_rmsnorm="fused_add_rmsnorm(input, residual, weight, eps, gemma)",
    rmsnorm_quant="rmsnorm_quant(input, weight, out, scale, eps)",
    fused_add_rmsnorm_quant="fused_add_rmsnorm_quant(input, residual, weight, out, scale, eps)",
    layernorm="layernorm(input, gamma, beta, out, eps)",
    layernorm_quant="layernorm_quant(input, gamma, beta, out, scale, eps)",
)


def _number(scale: Union[float, Tensor]) -> float:
    return float(scale.item() if hasattr(scale, "item") else scale)


def rmsnorm(
    input: Tensor, weight: Tensor, eps: float = 1e-6, out: Optional[Tensor] = None, enable_pdl: Optional[bool] = None
) -> Tensor:
    """Root-mean-square normalisation of rows (Zhang and Sennrich, 2019).

    out[i, j] = input[i, j] / sqrt(mean_j(input[i, j]^2) + eps) * weight[j]

    Args:
        input: [num_tokens..., hidden], f32, f16 or bf16.
        weight: [hidden], dtype of input.
        eps: added to the mean square, 0 to 1.
        out: receives the result; like input, or input itself. Made when it is left away.
        enable_pdl: taken for FlashInfer's sake; Strobe's kernels overlap on GPUs that can.

    Returns:
        `out`.

    Raises:
        ValueError: shapes, dtypes, strides or devices other than stated.
        TypeError: something that is no tensor.

    >>> import numpy as np
    >>> print(rmsnorm(np.float32([[3, 4]]), np.float32([1, 2])).round(4))
    [[0.8485 2.2627]]
    """
    if out is not None:
        _calls.rmsnorm(input, weight, out, eps)
        return out
    framework = framework_of(input, "rmsnorm: input")
    out = framework.empty_like(input)
    _calls.rmsnorm(input, weight, out, eps)
    return framework.result(out)


def gemma_rmsnorm(
    input: Tensor, weight: Tensor, eps: float = 1e-6, out: Optional[Tensor] = None, enable_pdl: Optional[bool] = None
) -> Tensor:
    """`rmsnorm` in Gemma's form, which multiplies by 1 + weight.

    >>> import numpy as np
    >>> print(gemma_rmsnorm(np.float32([[3, 4]]), np.float32([0, 1])).round(4))
    [[0.8485 2.2627]]
    """
    framework = framework_of(input, "rmsnorm: input")
    if out is None:
        out = framework.empty_like(input)
    _calls.gemma_rmsnorm(input, weight, out, eps, True)
    return framework.result(out)


def fused_add_rmsnorm(
    input: Tensor, residual: Tensor, weight: Tensor, eps: float = 1e-6, enable_pdl: Optional[bool] = None
) -> None:
    """The residual addition and the norm after it, in place.

    x = input + residual;  residual = x;  input[i, j] = x[i, j] / sqrt(mean_j(x[i, j]^2) + eps) * weight[j]

    The norm uses the sum as it is in f32; what `residual` receives is rounded. Arguments and errors as in
    `rmsnorm`; jax arrays, which cannot be written, are a TypeError.

    >>> import numpy as np
    >>> x, r = np.float32([[1, 2]]), np.float32([[2, 2]])
    >>> fused_add_rmsnorm(x, r, np.float32([1, 1]))
    >>> print(x.round(4), r)
    [[0.8485 1.1314]] [[3. 4.]]
    """
    _calls.fused_add_rmsnorm(input, residual, weight, eps)


def gemma_fused_add_rmsnorm(
    input: Tensor, residual: Tensor, weight: Tensor, eps: float = 1e-6, enable_pdl: Optional[bool] = None
) -> None:
    """`fused_add_rmsnorm` in Gemma's form, which multiplies by 1 + weight."""
    _calls.gemma_fused_add_rmsnorm(input, residual, weight, eps, True)


def rmsnorm_quant(
    out: Tensor,
    input: Tensor,
    weight: Tensor,
    scale: Union[float, Tensor],
    eps: float = 1e-6,
    enable_pdl: Optional[bool] = None,
) -> None:
    """`rmsnorm`, divided by `scale` and quantised into `out` (e4m3 or e5m2).

    out[i, j] = saturate(input[i, j] / sqrt(mean_j(input[i, j]^2) + eps) * weight[j] / scale)

    A tensor as `scale` is read to the host, which waits for its device.
    """
    _calls.rmsnorm_quant(input, weight, out, _number(scale), eps)


def fused_add_rmsnorm_quant(
    out: Tensor,
    input: Tensor,
    residual: Tensor,
    weight: Tensor,
    scale: Union[float, Tensor],
    eps: float = 1e-6,
    enable_pdl: Optional[bool] = None,
) -> None:
    """`fused_add_rmsnorm` whose norm goes to `out`, quantised as in `rmsnorm_quant`; `input` stays as it is."""
    _calls.fused_add_rmsnorm_quant(input, residual, weight, out, _number(scale), eps)


def layernorm(
    input: Tensor, gemma: Tensor, beta: Tensor, eps: float = 1e-6, *, out: Optional[Tensor] = None
) -> Tensor:
    """Layer normalisation of rows (Ba, Kiros and Hinton, 2016), with the variance divided by hidden.

    out[i, j] = (input[i, j] - mean_j(input)) / sqrt(var_j(input) + eps) * gamma[j] + beta[j]

    `gemma` (FlashInfer's name of gamma) and `beta` are f32 [hidden].

    >>> import numpy as np
    >>> layernorm(np.float32([[1, 3]]), np.float32([1, 1]), np.float32([0, 1]), eps=0).tolist()
    [[-1.0, 2.0]]
    """
    framework = framework_of(input, "layernorm: input")
    if out is None:
        out = framework.empty_like(input)
    _calls.layernorm(input, gemma, beta, out, eps)
    return framework.result(out)


def layernorm_quant(
    out: Tensor, input: Tensor, gemma: Tensor, beta: Tensor, scale: Union[float, Tensor], eps: float = 1e-6
) -> None:
    """`layernorm`, divided by `scale` and quantised into `out` as in `rmsnorm_quant`."""
    _calls.layernorm_quant(input, gemma, beta, out, _number(scale), eps)


fused_rmsnorm_silu = unsupported("strobe.norm.fused_rmsnorm_silu")
fused_qk_rmsnorm_rope = unsupported("strobe.norm.fused_qk_rmsnorm_rope")
rmsnorm_fp4quant = unsupported("strobe.norm.rmsnorm_fp4quant")
add_rmsnorm_fp4quant = unsupported("strobe.norm.add_rmsnorm_fp4quant")
