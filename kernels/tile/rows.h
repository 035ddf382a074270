// Rows of a tensor whose leading axes have merged into two.
#pragma once

#include "tile/divisor.h"
#include "tile/ints.h"

namespace strobe::kernel {

// Row r is (outer, inner) = (r / inner_rows, r % inner_rows) and begins at data + outer * stride[0] + inner *
// stride[1]; strides are bytes.
struct Rows {
  char* data;
  int64_t stride[2];
};

STROBE_DEVICE char* row_of(const Rows& rows, const Divisor& inner_rows, uint32_t row) {
  const uint32_t outer = quotient(row, inner_rows), inner = remainder(row, outer, inner_rows);
  return rows.data + outer * rows.stride[0] + inner * rows.stride[1];
}

}  // namespace strobe::kernel
