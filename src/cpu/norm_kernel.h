// Row kernels of the norms.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

// Rows of `hidden` contiguous elements, `…_stride` elements apart.
struct NormRows {
  const void* input = nullptr;
  void* residual = nullptr;      // or added to the input first; receives the sum
  const void* weight = nullptr;  // [hidden]: dtype of the input for rmsnorm, f32 for layernorm
  const float* bias = nullptr;   // [hidden], layernorm only
  void* out = nullptr;
  int64_t input_stride = 0, residual_stride = 0, out_stride = 0;
  int64_t hidden = 0;
  Dtype dtype = Dtype::kF32;
  Dtype out_dtype = Dtype::kF32;  // dtype, e4m3 or e5m2
  float eps = 0;
  float weight_offset = 0;  // added to rmsnorm's weight: 1 for Gemma's form
  float out_factor = 1;     // e4m3 and e5m2 only: 1 / scale
  bool stream = false;      // write `out` past the caches
};

}  // namespace strobe::cpu

STROBE_CPU_KERNEL(void, rmsnorm_rows, (const NormRows& rows, int64_t begin, int64_t end))
STROBE_CPU_KERNEL(void, layernorm_rows, (const NormRows& rows, int64_t begin, int64_t end))
