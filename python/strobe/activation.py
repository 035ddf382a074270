"""Gated activations: the first half of a row, activated, times the second half.

out[i, j] = f(input[i, j]) * input[i, hidden + j], in f32 and rounded once. `input` is [num_tokens..., 2 * hidden],
f32, f16 or bf16; the result is [num_tokens..., hidden] of its dtype.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from ._errors import unsupported
from ._frameworks import framework_of
from ._native import Calls

Tensor = Any

_calls = Calls(
    silu_and_mul="silu_and_mul(input, out)",
    gelu_and_mul="gelu_and_mul(input, out)",
    gelu_tanh_and_mul="gelu_tanh_and_mul(input, out)",
)


def _gated(name: str, call: Callable[..., None], input: Tensor, out: Optional[Tensor]) -> Tensor:
    framework = framework_of(input, f"{name}: input")
    if out is None:
        *tokens, width = input.shape
        out = framework.empty([*tokens, width // 2], input)
    call(input, out)
    return framework.result(out)


def silu_and_mul(input: Tensor, out: Optional[Tensor] = None, enable_pdl: Optional[bool] = None) -> Tensor:
    """SwiGLU (Shazeer, 2020): f(x) = x / (1 + exp(-x)).

    >>> import numpy as np
    >>> print(silu_and_mul(np.float32([[0, 1, 5, 2]])).round(4))
    [[0.     1.4621]]
    """
    return _gated("silu_and_mul", _calls.silu_and_mul, input, out)


def gelu_and_mul(input: Tensor, out: Optional[Tensor] = None, enable_pdl: Optional[bool] = None) -> Tensor:
    """GELU (Hendrycks and Gimpel, 2016): f(x) = x / 2 * (1 + erf(x / sqrt(2))).

    >>> import numpy as np
    >>> print(gelu_and_mul(np.float32([[0, 1, 5, 2]])).round(4))
    [[0.     1.6827]]
    """
    return _gated("gelu_and_mul", _calls.gelu_and_mul, input, out)


def gelu_tanh_and_mul(input: Tensor, out: Optional[Tensor] = None, enable_pdl: Optional[bool] = None) -> Tensor:
    """GELU's approximation: f(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).

    >>> import numpy as np
    >>> print(gelu_tanh_and_mul(np.float32([[0, 1, 5, 2]])).round(4))
    [[0.     1.6824]]
    """
    return _gated("gelu_tanh_and_mul", _calls.gelu_tanh_and_mul, input, out)


silu_and_mul_scaled_nvfp4_experts_quantize = unsupported("strobe.activation.silu_and_mul_scaled_nvfp4_experts_quantize")
