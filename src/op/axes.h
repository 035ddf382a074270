// Named axes: how an operand's shape is written in a declaration, and the sizes that a call binds to the
// names.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "strobe/tensor.h"

namespace strobe::op {

inline constexpr int kMaxAxes = 20;

// One extent of a shape: scale * axis + offset, or the constant `offset` when `axis` is -1. Written
// "head_dim", "2*hidden", "batch_size+1", "3".
struct AxisTerm {
  int axis = -1;
  std::int64_t scale = 1;
  std::int64_t offset = 0;
};

// A shape in axis names: "num_tokens, num_qo_heads, head_dim". A first term "num_tokens..." stands for any
// number (at least one) of leading axes, the same for every operand that has it; their product is num_tokens.
struct AxisList {
  std::string text;
  bool any_leading = false;  // terms[0] is then the product of the leading axes
  std::vector<AxisTerm> terms;
};

// The sizes that a call has bound, by axis number; -1 where nothing is bound yet.
struct Axes {
  std::array<std::int64_t, kMaxAxes> size;
  const TensorView* leading = nullptr;  // the operand that fixed the leading axes
  int leading_rank = 0;
  Axes() { size.fill(-1); }
  std::int64_t operator[](int axis) const { return size[static_cast<std::size_t>(axis)]; }
};

}  // namespace strobe::op
