// docs/operators.md, from the declarations.
#pragma once

#include <span>
#include <string>

#include "op/operator.h"

namespace strobe::op {

// The section of one operator: summary, formula, C++ call, tables of operands and attributes, rules,
// routines, source.
std::string markdown(const Operator& op);

// The whole page; `strobe docs` prints it, and a test holds the file in the tree against it.
std::string operators_page(std::span<const Operator* const> operators);

}  // namespace strobe::op
