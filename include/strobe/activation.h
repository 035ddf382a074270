// Gated activations: one half of a row, activated, times the other half.
#pragma once

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

struct ActivationArgs {
  TensorView input;  // [num_tokens..., 2*hidden], f32, f16 or bf16; the innermost axis contiguous
  TensorView out;    // [num_tokens..., hidden], dtype of input
};

// out[i, j] = f(input[i, j]) * input[i, hidden + j], computed in f32 and rounded once, with
//   silu_and_mul       f(x) = x / (1 + exp(-x))                                        (SwiGLU: Shazeer,
//   2020) gelu_and_mul       f(x) = x / 2 * (1 + erf(x / sqrt(2)))                           (Hendrycks and
//   Gimpel, 2016) gelu_tanh_and_mul  f(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))    (its
//   approximation there)
// Elements are independent. NaN in either half gives NaN; f(+Inf) is +Inf and f(-Inf) is NaN (infinity times
// 0). Throw Error(kInvalidArgument) on shapes, dtypes, strides or overlaps other than stated.
STROBE_API void silu_and_mul(const ActivationArgs& args, const Launch& launch = {});
STROBE_API void gelu_and_mul(const ActivationArgs& args, const Launch& launch = {});
STROBE_API void gelu_tanh_and_mul(const ActivationArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
