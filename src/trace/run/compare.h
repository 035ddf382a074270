// Whether what a solution has written is what the reference has.
#pragma once

#include "strobe/tensor.h"
#include "trace/model.h"

namespace strobe::trace {

struct Bounds {
  double rtol = 1e-2, atol = 1e-2;
  double required_matched_ratio = 1;
};

// An element is wrong when |got - want| > atol and |got - want| / (|want| + 1e-8) > rtol. NaN matches NaN, an
// infinity the same infinity, and nothing else does: errors are then infinite.
struct Comparison {
  double max_absolute_error = 0, max_relative_error = 0;
  std::int64_t elements = 0, wrong = 0;
  bool passed(const Bounds& bounds) const;
};
Comparison compare(const TensorView& got, const TensorView& want, const Bounds& bounds);

// Whether every element is what op::fill_poison has put there.
bool is_poisoned(const TensorView& view);

}  // namespace strobe::trace
