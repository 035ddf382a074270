// Normalisation of rows.
#pragma once

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe {

struct RmsNormArgs {
  TensorView input;   // [num_tokens..., hidden], f32, f16 or bf16; the innermost axis contiguous
  TensorView weight;  // [hidden], dtype of input
  TensorView out;     // like input; may be input itself
  float eps = 1e-6f;
  // Gemma's form multiplies by (1 + weight).
  bool gemma = false;
};

// Root-mean-square normalisation (Zhang and Sennrich, 2019):
//   out[i, j] = input[i, j] / sqrt(mean_j(input[i, j]^2) + eps) * weight[j]
// computed in f32 and rounded once. NaN or Inf in a row makes that row NaN (a row with Inf: 0 at finite elements) and leaves the others alone.
// Throws Error(kInvalidArgument) on shapes, dtypes or strides other than above.
STROBE_API void rmsnorm(const RmsNormArgs& args, const Launch& launch = {});

}  // namespace strobe
