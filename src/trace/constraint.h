// Evaluates a definition's constraints: Python expressions over axes, scalars and integer tensors, such as
// "len_indptr == batch_size + 1" or "num_kv_indices == kv_indptr[-1].item()".
//
// Understood: integers, floats, True, False; + - * / // % ** and unary minus; == != < <= > >= (chained, too);
// and, or, not; parentheses; a name; name[i] and name[-1] of a tensor of one axis, name.shape[i], .item() and
// .max() .min() .sum() of integer tensors; min(…), max(…), abs(…), len(name).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace strobe::trace {

// An integer tensor: its shape, and its elements when they are there.
struct IntegerTensor {
  std::vector<std::int64_t> shape;
  std::optional<std::vector<std::int64_t>> elements;
};
using Operand = std::variant<std::int64_t, double, IntegerTensor>;

struct Verdict {
  std::optional<bool> holds;  // none: it could not be evaluated
  std::string why;            // then: what is not understood or not there
};

// `look_up` gives a name's value; none when there is nothing of that name.
Verdict evaluate(std::string_view constraint,
                 const std::function<std::optional<Operand>(std::string_view)>& look_up);

// The value of an expression of integers. Throws Error(kInvalidArgument) that says why there is none.
std::int64_t integer_value(std::string_view expression,
                           const std::function<std::optional<Operand>(std::string_view)>& look_up);

}  // namespace strobe::trace
