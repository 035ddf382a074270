#include "trace/run/compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/read.h"
#include "op/random.h"

namespace strobe::trace {

bool Comparison::passed(const Bounds& bounds) const {
  if (elements == 0) return true;
  return 1 - static_cast<double>(wrong) / static_cast<double>(elements) >= bounds.required_matched_ratio;
}

Comparison compare(const TensorView& got, const TensorView& want, const Bounds& bounds) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Comparison result{.elements = want.size()};
  for (std::int64_t i = 0; i < result.elements; ++i) {
    const double x = read_element(got.data, got.dtype, i), y = read_element(want.data, want.dtype, i);
    if ((std::isnan(x) && std::isnan(y)) || x == y) continue;
    const bool finite = std::isfinite(x) && std::isfinite(y);
    const double absolute = finite ? std::abs(x - y) : kInfinity;
    const double relative = finite ? absolute / (std::abs(y) + 1e-8) : kInfinity;
    result.max_absolute_error = std::max(result.max_absolute_error, absolute);
    result.max_relative_error = std::max(result.max_relative_error, relative);
    result.wrong += absolute > bounds.atol && relative > bounds.rtol ? 1 : 0;
  }
  return result;
}

bool is_poisoned(const TensorView& view) {
  const Tensor poison(view.dtype, std::span(view.shape.data(), static_cast<std::size_t>(view.rank)));
  op::fill_poison(poison);
  return std::memcmp(poison.as<void>(), view.data, static_cast<std::size_t>(view.bytes())) == 0;
}

}  // namespace strobe::trace
