// Bytes that a call moves at the least, for costs.
#pragma once

#include "strobe/tensor.h"

namespace strobe::op {

// Bytes of the given views together; one that is read and written is passed twice.
template <class... Views>
double operand_bytes(const Views&... views) {
  return static_cast<double>(((views.given() ? views.bytes() : 0) + ...));
}

}  // namespace strobe::op
