// What arrives from other languages, as arguments of an operator.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "op/operator.h"
#include "strobe/c_api.h"
#include "strobe/error.h"

namespace strobe::ffi {

// An argument of another kind than the declaration's: a string where a tensor belongs.
class TypeError : public Error {
 public:
  explicit TypeError(const std::string& message) : Error(ErrorKind::kInvalidArgument, message) {}
};

// The tensor that a value holds, in either of tvm-ffi's two ways too; null when it holds none.
const StrobeTensor* tensor_of(const StrobeValue& value);

// The text that a value holds, likewise.
std::optional<std::string_view> text_of(const StrobeValue& value);

// "a string", "nothing", …
std::string_view kind_name(const StrobeValue& value);

// A tensor as the library sees one. Throws Error that names `who`.
TensorView view_of(const StrobeTensor& tensor, std::string_view who);

// Write a value into an operator's arguments. Throw Error that names operator and argument.
void set_operand(const op::Operator& op, const op::Operand& operand, const StrobeValue& value, void* args);
void set_attribute(const op::Operator& op, const op::Attribute& attribute, const StrobeValue& value,
                   void* args);

}  // namespace strobe::ffi
