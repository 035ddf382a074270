// Parameters of strobe_gated.
#pragma once

#include "tile/rows.h"

namespace strobe::kernel {

struct GatedParams {
  Rows input, out;
  uint32_t first_row;
  uint32_t vectors;  // of the output, from first_row on
  Divisor row_vectors;
  Divisor inner_rows;
  int64_t second_half;  // bytes from an element that is activated to its factor
  bool prefetches;      // all blocks run at once: they bring their rows to L2 while the kernel before ends
};

}  // namespace strobe::kernel
