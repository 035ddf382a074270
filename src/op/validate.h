// Holds a call's arguments against the operator's declaration.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "op/operator.h"
#include "strobe/error.h"

namespace strobe::op {

// Checks the operands and attributes of `phase`: given, dtype, rank, shape relations, strides, device,
// aliasing, ranges; then runs the operator's own check. Binds axis sizes in `axes`; a run phase goes on with
// what its plan has bound, so that other shapes than planned are an error. Allocates nothing unless it
// throws.
void validate(const Operator& op, const void* args, Phase phase, Axes& axes);

// Throws Error(kInvalidArgument) when `value` is not in the attribute's range.
void check_attribute(const Operator& op, const Attribute& attribute, double value);

// Throws Error(kInvalidArgument) "<operator>: <argument>: expected <expectation>, got <finding>".
template <class... Args>
[[noreturn]] void reject(const Operator& op, std::string_view argument, fmt::format_string<Args...> format,
                         Args&&... args) {
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("{}: {}: {}", op.name, argument, fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace strobe::op
