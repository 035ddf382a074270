#include "op/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/read.h"

namespace strobe::op {

std::string text(const Statistics& x) {
  if (x.finite == 0) return fmt::format("no finite element, nan {} inf {}", x.nan, x.inf);
  return fmt::format("min {:.6g} max {:.6g} mean {:.6g} nan {} inf {}", x.low, x.high,
                     x.sum / static_cast<double>(x.finite), x.nan, x.inf);
}

Statistics statistics_of(const TensorView& view) {
  Statistics result;
  for_each_element(view, [&](double value) {
    if (std::isnan(value)) {
      ++result.nan;
    } else if (std::isinf(value)) {
      ++result.inf;
    } else {
      ++result.finite;
      result.sum += value;
      result.low = std::min(result.low, value);
      result.high = std::max(result.high, value);
    }
  });
  return result;
}

}  // namespace strobe::op
