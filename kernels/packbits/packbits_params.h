// Parameters of strobe_packbits.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

struct PackbitsParams {
  const unsigned char* x;
  unsigned char* y;
  int64_t elements, bytes;
  const int32_t *indptr, *packed_indptr;  // of segments; null: x is one segment
  int32_t segments;
};

}  // namespace strobe::kernel
