// Copies between views of one shape and dtype whose strides differ.
#pragma once

#include "strobe/tensor.h"

namespace strobe::inline v1 {

// Copies every element of `from` to the same index of `to`: CPU views of equal shape and dtype that do not
// overlap.
void strided_copy(const TensorView& from, const TensorView& to);

// The elements that a view spans in memory, relative to its data: lowest and highest offset touched.
struct Span {
  std::int64_t low = 0, high = -1;  // low > high: no element
  std::int64_t elements() const { return high - low + 1; }
};
Span span_of(const TensorView& view);

}  // namespace strobe::inline v1
