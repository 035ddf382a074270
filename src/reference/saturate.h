// What the small float formats do with values beyond their largest finite one.
#pragma once

#include <algorithm>

#include "strobe/dtype.h"

namespace strobe::reference {

// The value that quantising a finite number to e4m3 or e5m2 rounds: within ± the largest finite one. NaN
// stays NaN.
inline double saturate(double value, Dtype dtype) {
  const double largest = dtype == Dtype::kE4m3 ? 448 : 57344;
  return std::clamp(value, -largest, largest);
}

}  // namespace strobe::reference
