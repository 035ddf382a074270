// Benchmark routines: how the inputs of one case are made. Every operator has at least one; most get theirs
// derived.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "op/axes.h"
#include "op/dtype_set.h"
#include "op/random.h"
#include "strobe/device.h"
#include "strobe/tensor.h"

namespace strobe::op {

struct Operator;
enum class Phase : std::uint8_t;

// What a parameter's text may be, so that a wrong value is found before anything runs.
struct ValueRule {
  enum class Kind : std::uint8_t { kText, kInteger, kNumber, kFlag, kDtype, kChoice };
  Kind kind = Kind::kText;
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  DtypeSet dtypes;
  std::vector<std::string> choices;

  static ValueRule integer(double low) { return {.kind = Kind::kInteger, .low = low}; }
  static ValueRule number(double low, double high) {
    return {.kind = Kind::kNumber, .low = low, .high = high};
  }
  static ValueRule flag() { return {.kind = Kind::kFlag}; }
  static ValueRule dtype(DtypeSet dtypes) { return {.kind = Kind::kDtype, .dtypes = dtypes}; }
  static ValueRule choice(std::vector<std::string> choices) {
    return {.kind = Kind::kChoice, .choices = std::move(choices)};
  }
};

// A shape flag of a routine: `--name`.
struct Parameter {
  std::string name;
  std::string default_value;
  std::string doc;
  ValueRule rule = {};
};

// Throws Error(kInvalidArgument) that names the parameter and what was expected. Where the default is empty,
// so may the text be.
void check_value(const Parameter& parameter, const std::string& text);

// The values of a routine's parameters for one case, as text, in the order of the parameters.
class Case {
 public:
  Case() = default;
  explicit Case(const std::vector<Parameter>& parameters);

  // Throws Error(kInvalidArgument) that lists the parameters when there is none of that name.
  void set(std::string_view name, std::string value);
  bool has(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  // Throw Error(kInvalidArgument) naming the parameter when the text is not such a value.
  std::int64_t integer(std::string_view name, std::int64_t low = 0) const;
  double number(std::string_view name) const;
  bool flag(std::string_view name) const;  // true/false, 1/0, yes/no
  Dtype dtype(std::string_view name) const;

  const std::vector<std::pair<std::string, std::string>>& values() const { return values_; }

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

// A call of a problem, on a stream where one is given. Empty: there is none.
class ProblemCall {
 public:
  ProblemCall() = default;
  template <class F>
  ProblemCall(F call) {  // NOLINT: takes what can be called with a Launch, or with nothing
    if constexpr (std::is_invocable_v<F, const Launch&>)
      call_ = std::move(call);
    else
      call_ = [call = std::move(call)](const Launch&) { call(); };
  }
  void operator()(const Launch& launch = {}) const { call_(launch); }
  explicit operator bool() const { return call_ != nullptr; }

 private:
  std::function<void(const Launch&)> call_;
};

// Arguments with memory of their own, ready to run.
struct Problem {
  const Operator* op = nullptr;
  std::shared_ptr<void> args;   // the operator's argument struct
  Axes axes;                    // bound by validation
  std::vector<Tensor> tensors;  // what the operands point into
  std::shared_ptr<void> state;  // a plan, where the operator has one
  ProblemCall plan;             // empty where the operator has none
  ProblemCall run;              // the timed call
};

// Gives a problem whose op and args are set its axes, plan and run. With `last` = kPlan it has a plan only.
void bind_calls(Problem& problem, Phase last);

struct Routine {
  std::string name;
  std::string doc;
  std::vector<Parameter> parameters;
  Problem (*make)(const Operator& op, const Case& values, Random& random) = nullptr;
};

// The routines of an operator: its own, or the one derived from its declaration. A derived routine has a
// parameter for each axis, `dtype` for the first operand whose dtype is free, `<operand>_dtype` for further
// ones (empty: that of `dtype`), and one for each attribute.
std::vector<Routine> routines_of(const Operator& op);

// A routine by name over all operators; Error(kInvalidArgument) lists the known ones.
struct NamedRoutine {
  const Operator* op;
  Routine routine;
};
NamedRoutine find_routine(std::string_view name);

}  // namespace strobe::op
