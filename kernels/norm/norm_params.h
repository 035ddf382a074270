// Parameters of strobe_norm.
#pragma once

#include "tile/rows.h"

namespace strobe::kernel {

struct NormParams {
  Rows input, residual, out;  // residual: of the forms that add
  const char* weight;         // [hidden]
  const char* bias;           // [hidden], of layer norm
  uint32_t rows;
  Divisor inner_rows;
  int32_t hidden;
  float inverse_hidden;  // 1 / hidden
  float eps;
  float weight_offset;  // added to the weight
  float out_factor;     // 1 / scale of a quantised output, else 1
  bool prefetches;      // all blocks run at once: they bring their rows to L2 while the kernel before ends
};

}  // namespace strobe::kernel
