// What the call log says of a tensor's elements at level 5.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "strobe/tensor.h"

namespace strobe::op {

// Low, high and sum are over the finite elements.
struct Statistics {
  double low = std::numeric_limits<double>::infinity(), high = -low, sum = 0;
  std::int64_t finite = 0, nan = 0, inf = 0;
};

// "min -3.1 max 3.2 mean 0.01 nan 0 inf 0".
std::string text(const Statistics& statistics);

// Of a CPU view.
Statistics statistics_of(const TensorView& view);

}  // namespace strobe::op
