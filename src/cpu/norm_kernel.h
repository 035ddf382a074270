// Row kernels of the norms.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

// Rows of `hidden` contiguous elements, `…_stride` elements apart.
struct RmsNormRows {
  const void* input;
  const void* weight;
  void* out;
  int64_t input_stride, out_stride;
  int64_t hidden;
  Dtype dtype;
  float eps;
  float weight_offset;  // added to the weight: 1 for Gemma's form
  bool stream;          // write past the caches
};

}  // namespace strobe::cpu

STROBE_CPU_KERNEL(void, rmsnorm_rows, (const RmsNormRows& rows, int64_t begin, int64_t end))
