// Parameters of strobe_norm.
#pragma once

#include "tile/divisor.h"
#include "tile/ints.h"

namespace strobe::kernel {

// Row r is (outer, inner) = (r / inner_rows, r % inner_rows) and begins at data + outer * stride[0] + inner *
// stride[1]; strides are bytes.
struct NormRows {
  char* data;
  int64_t stride[2];
};

struct NormParams {
  NormRows input, residual, out;  // residual: of the forms that add
  const char* weight;             // [hidden]
  const char* bias;               // [hidden], of layer norm
  uint32_t rows;
  Divisor inner_rows;
  int32_t hidden;
  float inverse_hidden;  // 1 / hidden
  float eps;
  float weight_offset;  // added to the weight
  float out_factor;     // 1 / scale of a quantised output, else 1
};

}  // namespace strobe::kernel
