// Normalisation of rows: root-mean-square and layer norm, alone, fused with the residual addition before it,
// and with the quantisation to fp8 after it.
//
// All of them compute in f32 and round once; rows are independent. NaN in a row makes that row NaN. With Inf,
// a layer norm's row is NaN; a root-mean-square norm's row is NaN at the infinite elements and 0 at the
// finite ones. All throw Error(kInvalidArgument) on shapes, dtypes, strides, overlaps or ranges other than
// stated.
#pragma once

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

struct RmsNormArgs {
  TensorView input;   // [num_tokens..., hidden], f32, f16 or bf16; the innermost axis contiguous
  TensorView weight;  // [hidden], dtype of input
  TensorView out;     // like input; may be input itself
  float eps = 1e-6f;
  bool gemma = false;  // Gemma's form: multiply by 1 + weight
};

// Root-mean-square normalisation (Zhang and Sennrich, 2019):
//   out[i, j] = input[i, j] / sqrt(mean_j(input[i, j]^2) + eps) * weight[j]
STROBE_API void rmsnorm(const RmsNormArgs& args, const Launch& launch = {});

struct RmsNormQuantArgs {
  TensorView input;    // [num_tokens..., hidden], f32, f16 or bf16; the innermost axis contiguous
  TensorView weight;   // [hidden], dtype of input
  TensorView out;      // [num_tokens..., hidden], e4m3 or e5m2
  float scale = 1.0f;  // value of one step of the quantised tensor: out * scale approximates the norm
  float eps = 1e-6f;
  bool gemma = false;
};

// rmsnorm, divided by scale and quantised:
//   out[i, j] = saturate(input[i, j] / sqrt(mean_j(input[i, j]^2) + eps) * weight[j] / scale)
// Beyond the largest finite value of the output dtype (e4m3 448, e5m2 57344) comes that value; NaN stays NaN.
STROBE_API void rmsnorm_quant(const RmsNormQuantArgs& args, const Launch& launch = {});

struct FusedAddRmsNormArgs {
  TensorView input;     // [num_tokens..., hidden], f32, f16 or bf16: added; receives the norm
  TensorView residual;  // like input: receives the sum
  TensorView weight;    // [hidden], dtype of input
  float eps = 1e-6f;
  bool gemma = false;  // Gemma's form: multiply by 1 + weight
};

// The residual addition and the norm after it, in place:
//   x = input + residual;  residual = x;  input[i, j] = x[i, j] / sqrt(mean_j(x[i, j]^2) + eps) * weight[j]
// The norm uses the sum x as it is in f32; only what residual receives is rounded to its dtype.
STROBE_API void fused_add_rmsnorm(const FusedAddRmsNormArgs& args, const Launch& launch = {});

struct FusedAddRmsNormQuantArgs {
  TensorView input;     // [num_tokens..., hidden], f32, f16 or bf16
  TensorView residual;  // like input: receives the sum
  TensorView weight;    // [hidden], dtype of input
  TensorView out;       // [num_tokens..., hidden], e4m3 or e5m2
  float scale = 1.0f;   // as for rmsnorm_quant
  float eps = 1e-6f;
  bool gemma = false;
};

// fused_add_rmsnorm whose norm goes to `out`, divided by scale and quantised as rmsnorm_quant does; input
// stays as it is.
STROBE_API void fused_add_rmsnorm_quant(const FusedAddRmsNormQuantArgs& args, const Launch& launch = {});

struct LayerNormArgs {
  TensorView input;  // [num_tokens..., hidden], f32, f16 or bf16; the innermost axis contiguous
  TensorView gamma;  // [hidden], f32
  TensorView beta;   // [hidden], f32
  TensorView out;    // like input; may be input itself
  float eps = 1e-6f;
};

// Layer normalisation (Ba, Kiros and Hinton, 2016), with the variance of the whole row (divided by hidden):
//   out[i, j] = (input[i, j] - mean_j(input[i, j])) / sqrt(var_j(input[i, j]) + eps) * gamma[j] + beta[j]
STROBE_API void layernorm(const LayerNormArgs& args, const Launch& launch = {});

struct LayerNormQuantArgs {
  TensorView input;    // [num_tokens..., hidden], f32, f16 or bf16; the innermost axis contiguous
  TensorView gamma;    // [hidden], f32
  TensorView beta;     // [hidden], f32
  TensorView out;      // [num_tokens..., hidden], e4m3 or e5m2
  float scale = 1.0f;  // as for rmsnorm_quant
  float eps = 1e-6f;
};

// layernorm, divided by scale and quantised as rmsnorm_quant does.
STROBE_API void layernorm_quant(const LayerNormQuantArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
