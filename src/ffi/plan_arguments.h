// The arguments of a plan, kept so that it can be made again with other attributes.
#pragma once

#include <cstddef>
#include <vector>

#include "op/operator.h"

namespace strobe::ffi {

// Tensors in host memory that a plan reads, which its caller may change afterwards, are copied; others are
// referred to. Copies need memory only where they outgrow those before.
class PlanArguments {
 public:
  void clear() { args_.clear(); }
  bool given() const { return !args_.empty(); }
  const std::byte* data() const { return args_.data(); }
  void keep(const op::Operator& op, const std::byte* args);

 private:
  std::vector<std::byte> args_;
  std::vector<std::max_align_t> copies_;
};

}  // namespace strobe::ffi
