#include "trace/constraint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <numeric>

#include "core/message.h"

namespace strobe::trace {
namespace {

using Number = std::variant<std::int64_t, double>;

// What ends an evaluation.
struct NotEvaluated {
  std::string why;
};

double real(const Number& number) {
  return std::visit([](auto value) { return static_cast<double>(value); }, number);
}
bool truth(const Number& number) { return real(number) != 0; }
Number boolean(bool value) { return static_cast<std::int64_t>(value); }

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return quotient * b != a && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Number arithmetic(std::string_view operation, const Number& left, const Number& right) {
  const auto* a = std::get_if<std::int64_t>(&left);
  const auto* b = std::get_if<std::int64_t>(&right);
  const bool divides = operation == "/" || operation == "//" || operation == "%";
  if (divides && real(right) == 0) throw NotEvaluated{"division by zero"};
  if (a != nullptr && b != nullptr && operation != "/" && operation != "**") {
    std::int64_t result = 0;
    const bool overflows = operation == "+"   ? __builtin_add_overflow(*a, *b, &result)
                           : operation == "-" ? __builtin_sub_overflow(*a, *b, &result)
                           : operation == "*" ? __builtin_mul_overflow(*a, *b, &result)
                                              : false;
    if (overflows) throw NotEvaluated{"an integer beyond 64 bits"};
    if (operation == "//") result = floor_quotient(*a, *b);
    if (operation == "%") result = *a - *b * floor_quotient(*a, *b);
    return result;
  }
  const double x = real(left), y = real(right);
  if (operation == "+") return x + y;
  if (operation == "-") return x - y;
  if (operation == "*") return x * y;
  if (operation == "/") return x / y;
  if (operation == "//") return std::floor(x / y);
  if (operation == "%") return x - y * std::floor(x / y);
  const double power = std::pow(x, y);
  const bool whole = a != nullptr && b != nullptr && *b >= 0 && std::abs(power) < 9e15;
  return whole ? Number(static_cast<std::int64_t>(power)) : Number(power);
}

// Exact for integers, which doubles are not.
bool compare(std::string_view operation, const Number& left, const Number& right) {
  const auto decide = [operation](auto a, auto b) {
    if (operation == "==") return a == b;
    if (operation == "!=") return a != b;
    if (operation == "<") return a < b;
    if (operation == "<=") return a <= b;
    return operation == ">" ? a > b : a >= b;
  };
  const auto* a = std::get_if<std::int64_t>(&left);
  const auto* b = std::get_if<std::int64_t>(&right);
  return a != nullptr && b != nullptr ? decide(*a, *b) : decide(real(left), real(right));
}

const std::vector<std::int64_t>& elements_of(std::string_view name, const IntegerTensor& tensor) {
  if (!tensor.elements) throw NotEvaluated{fmt::format("the elements of {} are not recorded", name)};
  return *tensor.elements;
}

std::int64_t element(std::string_view name, const std::vector<std::int64_t>& values, std::int64_t index) {
  const auto size = static_cast<std::int64_t>(values.size());
  if (index < -size || index >= size)
    throw NotEvaluated{fmt::format("{}[{}]: there are {}", name, index, size)};
  return values[static_cast<std::size_t>(index < 0 ? index + size : index)];
}

class Expression {
 public:
  Expression(std::string_view text, const std::function<std::optional<Operand>(std::string_view)>& look_up)
      : rest_(text), look_up_(look_up) {}

  Number whole() {
    const Number result = disjunction();
    skip_blanks();
    if (!rest_.empty()) not_understood();
    return result;
  }

 private:
  Number disjunction() {
    Number result = conjunction();
    while (take_word("or")) {
      const Number right = conjunction();
      if (!truth(result)) result = right;
    }
    return result;
  }
  Number conjunction() {
    Number result = negation();
    while (take_word("and")) {
      const Number right = negation();
      if (truth(result)) result = right;
    }
    return result;
  }
  Number negation() {
    if (take_word("not")) return boolean(!truth(negation()));
    return comparison();
  }
  Number comparison() {
    Number left = sum();
    bool holds = true, compared = false;
    for (std::string_view operation; !(operation = take_any({"==", "!=", "<=", ">=", "<", ">"})).empty();) {
      const Number right = sum();
      holds = holds && compare(operation, left, right);
      left = right;
      compared = true;
    }
    return compared ? boolean(holds) : left;
  }
  Number sum() {
    Number result = product();
    for (std::string_view operation; !(operation = take_any({"+", "-"})).empty();)
      result = arithmetic(operation, result, product());
    return result;
  }
  Number product() {
    Number result = sign();
    while (true) {
      skip_blanks();
      if (rest_.starts_with("**")) return result;
      const std::string_view operation = take_any({"//", "*", "/", "%"});
      if (operation.empty()) return result;
      result = arithmetic(operation, result, sign());
    }
  }
  Number sign() {
    if (!take_any({"-"}).empty()) return arithmetic("-", std::int64_t{0}, sign());
    if (!take_any({"+"}).empty()) return sign();
    const Number base = primary();
    return take_any({"**"}).empty() ? base : arithmetic("**", base, sign());
  }
  Number primary() {
    if (take("(")) {
      const Number result = disjunction();
      expect(")");
      return result;
    }
    skip_blanks();
    if (!rest_.empty() && std::isdigit(static_cast<unsigned char>(rest_.front())) != 0) return literal();
    const std::string_view name = word();
    if (name == "True" || name == "False") return boolean(name == "True");
    skip_blanks();
    if (rest_.starts_with("(")) return call(name);
    const std::optional<Operand> value = look_up_(name);
    if (!value) throw NotEvaluated{fmt::format("{} is not known", name)};
    if (const auto* tensor = std::get_if<IntegerTensor>(&*value)) return of_tensor(name, *tensor);
    if (take(".")) {
      if (word() != "item") not_understood();
      expect("("), expect(")");
    }
    if (const auto* integer = std::get_if<std::int64_t>(&*value)) return *integer;
    return std::get<double>(*value);
  }
  Number literal() {
    double value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc{}) not_understood();
    const std::string_view text = rest_.substr(0, static_cast<std::size_t>(end - rest_.data()));
    rest_.remove_prefix(text.size());
    std::int64_t integer = 0;
    const auto [integer_end, integer_error] =
        std::from_chars(text.data(), text.data() + text.size(), integer);
    if (integer_error == std::errc{} && integer_end == text.data() + text.size()) return integer;
    return value;
  }
  Number call(std::string_view name) {
    expect("(");
    if (name == "len") {
      const std::string_view argument = word();
      const std::optional<Operand> value = look_up_(argument);
      const auto* tensor = value ? std::get_if<IntegerTensor>(&*value) : nullptr;
      if (tensor == nullptr || tensor->shape.empty()) throw NotEvaluated{fmt::format("len({})", argument)};
      expect(")");
      return tensor->shape[0];
    }
    std::vector<Number> arguments = {disjunction()};
    while (take(",")) arguments.push_back(disjunction());
    expect(")");
    const auto less = [](const Number& a, const Number& b) { return compare("<", a, b); };
    if (name == "min") return *std::min_element(arguments.begin(), arguments.end(), less);
    if (name == "max") return *std::max_element(arguments.begin(), arguments.end(), less);
    if (name == "abs" && arguments.size() == 1)
      return compare("<", arguments[0], std::int64_t{0}) ? arithmetic("-", std::int64_t{0}, arguments[0])
                                                         : arguments[0];
    throw NotEvaluated{fmt::format("{}(…) is not understood", name)};
  }
  Number of_tensor(std::string_view name, const IntegerTensor& tensor) {
    if (take("[")) {
      const std::int64_t index = integer(disjunction());
      expect("]");
      if (tensor.shape.size() != 1)
        throw NotEvaluated{fmt::format("{} has {} axes", name, tensor.shape.size())};
      const std::int64_t value = element(name, elements_of(name, tensor), index);
      if (take(".")) {
        if (word() != "item") not_understood();
        expect("("), expect(")");
      }
      return value;
    }
    if (!take(".")) throw NotEvaluated{fmt::format("{} is a tensor", name)};
    const std::string_view member = word();
    if (member == "shape") {
      expect("[");
      const std::int64_t index = integer(disjunction());
      expect("]");
      return element(fmt::format("{}.shape", name), tensor.shape, index);
    }
    expect("("), expect(")");
    const std::vector<std::int64_t>& values = elements_of(name, tensor);
    if (member == "sum") return std::accumulate(values.begin(), values.end(), std::int64_t{0});
    if (values.empty()) throw NotEvaluated{fmt::format("{} is empty", name)};
    if (member == "max") return *std::max_element(values.begin(), values.end());
    if (member == "min") return *std::min_element(values.begin(), values.end());
    if (member == "item" && values.size() == 1) return values[0];
    throw NotEvaluated{fmt::format("{}.{}() is not understood", name, member)};
  }

  std::int64_t integer(const Number& number) const {
    const auto* value = std::get_if<std::int64_t>(&number);
    if (value == nullptr) throw NotEvaluated{"an index is no integer"};
    return *value;
  }
  void skip_blanks() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front())) != 0)
      rest_.remove_prefix(1);
  }
  bool take(std::string_view text) {
    skip_blanks();
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  std::string_view take_any(std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts)
      if (take(text)) return text;
    return {};
  }
  bool take_word(std::string_view expected) {
    skip_blanks();
    const std::string_view before = rest_;
    if (rest_.starts_with(expected) && word() == expected) return true;
    rest_ = before;
    return false;
  }
  std::string_view word() {
    skip_blanks();
    std::size_t size = 0;
    while (size < rest_.size() &&
           (std::isalnum(static_cast<unsigned char>(rest_[size])) != 0 || rest_[size] == '_'))
      ++size;
    if (size == 0) not_understood();
    const std::string_view result = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return result;
  }
  void expect(std::string_view text) {
    if (!take(text)) not_understood();
  }
  [[noreturn]] void not_understood() const {
    throw NotEvaluated{rest_.empty() ? "it ends too early" : fmt::format("'{}' is not understood", rest_)};
  }

  std::string_view rest_;
  const std::function<std::optional<Operand>(std::string_view)>& look_up_;
};

Number value_of(std::string_view text,
                const std::function<std::optional<Operand>(std::string_view)>& look_up) {
  constexpr std::size_t kMostLetters = 1000;  // bounds how deep brackets nest
  if (text.size() > kMostLetters)
    throw NotEvaluated{fmt::format("it is longer than {} letters", kMostLetters)};
  return Expression(text, look_up).whole();
}

}  // namespace

Verdict evaluate(std::string_view constraint,
                 const std::function<std::optional<Operand>(std::string_view)>& look_up) {
  try {
    return {truth(value_of(constraint, look_up)), ""};
  } catch (const NotEvaluated& stop) {
    return {{}, stop.why};
  }
}

std::int64_t integer_value(std::string_view expression,
                           const std::function<std::optional<Operand>(std::string_view)>& look_up) {
  try {
    const Number value = value_of(expression, look_up);
    if (const auto* integer = std::get_if<std::int64_t>(&value)) return *integer;
    throw NotEvaluated{"it is no integer"};
  } catch (const NotEvaluated& stop) {
    fail(ErrorKind::kInvalidArgument, "'{}' has no value: {}", expression, stop.why);
  }
}

}  // namespace strobe::trace
