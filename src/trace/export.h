// Definitions of Strobe's operators, made from their declarations.
//
// Inputs are an operator's required inputs; what may be left away is, and numbers such as eps are constants
// of the reference. An operand that is read and written becomes an input and an output NAME_out. An extent
// "2*hidden" becomes an axis "hidden_x2" with a constraint. The reference is Python that calls the operator
// by the package strobe, on the CPU for arrays of numpy.
#pragma once

#include <map>
#include <string>

#include "op/operator.h"
#include "trace/model.h"

namespace strobe::trace {

struct ExportOptions {
  std::map<std::string, std::int64_t> axes;   // constant ones; the others are variable
  std::map<std::string, std::string> values;  // of attributes, as Python text; the others keep their defaults
  std::string dtype = "bfloat16";  // of operands that may have it; else float32, else their first one
};

// Named OPERATOR, constant axes and dtype: "rmsnorm_hidden_size4096_bfloat16". Throws Error(kInvalidArgument)
// for a dtype that is none, Error(kUnsupported) for what the schema cannot say.
Definition export_definition(const op::Operator& op, const ExportOptions& options);

}  // namespace strobe::trace
