// Row kernels of the gated activations.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

// Rows of 2 * hidden contiguous elements to rows of hidden, `…_stride` elements apart.
struct ActivationRows {
  const void* input;
  void* out;
  int64_t input_stride, out_stride;
  int64_t hidden;
  Dtype dtype;
  bool stream;  // write past the caches
};

}  // namespace strobe::cpu

STROBE_CPU_KERNEL(void, silu_and_mul_rows, (const ActivationRows& rows, int64_t begin, int64_t end))
STROBE_CPU_KERNEL(void, gelu_and_mul_rows, (const ActivationRows& rows, int64_t begin, int64_t end))
STROBE_CPU_KERNEL(void, gelu_tanh_and_mul_rows, (const ActivationRows& rows, int64_t begin, int64_t end))
