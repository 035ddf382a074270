#include "op/routine.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "core/message.h"
#include "op/call.h"
#include "op/operator.h"

namespace strobe::op {

Case::Case(const std::vector<Parameter>& parameters) {
  for (const Parameter& parameter : parameters) values_.emplace_back(parameter.name, parameter.default_value);
}

void Case::set(std::string_view name, std::string value) {
  for (auto& [known, text] : values_)
    if (known == name) {
      text = std::move(value);
      return;
    }
  std::vector<std::string> names;
  for (const auto& entry : values_) names.push_back(entry.first);
  fail(ErrorKind::kInvalidArgument, "unknown parameter '{}'; this routine has: {}", name,
       fmt::join(names, ", "));
}

bool Case::has(std::string_view name) const {
  return std::any_of(values_.begin(), values_.end(), [&](const auto& entry) { return entry.first == name; });
}

const std::string& Case::text(std::string_view name) const {
  for (const auto& [known, text] : values_)
    if (known == name) return text;
  fail(ErrorKind::kInvalidArgument, "this routine has no parameter '{}'", name);
}

std::int64_t Case::integer(std::string_view name, std::int64_t low) const {
  const std::string& value = text(name);
  std::int64_t number = 0;
  const auto result = std::from_chars(value.data(), value.data() + value.size(), number);
  if (result.ec != std::errc{} || result.ptr != value.data() + value.size() || number < low)
    fail(ErrorKind::kInvalidArgument, "{}: expected an integer of at least {}, got '{}'", name, low, value);
  return number;
}

double Case::number(std::string_view name) const {
  const std::string& value = text(name);
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (value.empty() || *end != '\0')
    fail(ErrorKind::kInvalidArgument, "{}: expected a number, got '{}'", name, value);
  return number;
}

bool Case::flag(std::string_view name) const {
  const std::string& value = text(name);
  if (value == "true" || value == "1" || value == "yes") return true;
  if (value == "false" || value == "0" || value == "no") return false;
  fail(ErrorKind::kInvalidArgument, "{}: expected true or false, got '{}'", name, value);
}

Dtype Case::dtype(std::string_view name) const {
  try {
    return parse_dtype(text(name));
  } catch (const Error& error) {
    fail(error.kind(), "{}: {}", name, error.what());
  }
}

namespace {

void check_range(const ValueRule& rule, std::string_view name, double value, const std::string& text) {
  if (!(value >= rule.low && value <= rule.high))
    fail(ErrorKind::kInvalidArgument, "{}: expected a value in [{}, {}], got {}", name, rule.low, rule.high,
         text);
}

void check_dtype(const ValueRule& rule, std::string_view name, const std::string& text) {
  try {
    if (rule.dtypes.contains(parse_dtype(text))) return;
  } catch (const Error&) {  // no dtype at all: the same message
  }
  fail(ErrorKind::kInvalidArgument, "{}: expected {}, got '{}'", name, to_string(rule.dtypes), text);
}

}  // namespace

void check_value(const Parameter& parameter, const std::string& text) {
  if (text.empty() && parameter.default_value.empty()) return;
  const auto& [name, unused_default, unused_doc, rule] = parameter;
  const Case value(std::vector<Parameter>{{name, text, ""}});
  switch (rule.kind) {
    case ValueRule::Kind::kText:
      return;
    case ValueRule::Kind::kInteger:
      value.integer(name, static_cast<std::int64_t>(rule.low));
      return;
    case ValueRule::Kind::kNumber:
      return check_range(rule, name, value.number(name), text);
    case ValueRule::Kind::kFlag:
      value.flag(name);
      return;
    case ValueRule::Kind::kDtype:
      return check_dtype(rule, name, text);
    case ValueRule::Kind::kChoice:
      if (std::find(rule.choices.begin(), rule.choices.end(), text) == rule.choices.end())
        fail(ErrorKind::kInvalidArgument, "{}: expected one of {}, got '{}'", name,
             fmt::join(rule.choices, ", "), text);
  }
}

namespace {

bool has_free_dtype(const Operand& operand) {
  return operand.same_dtype_as < 0 && operand.dtypes.count() > 1;
}

// The first operand whose dtype is free; null when there is none.
const Operand* leading_dtype(const Operator& op) {
  for (const Operand& operand : op.operands)
    if (!operand.optional && has_free_dtype(operand)) return &operand;
  return nullptr;
}

std::string dtype_parameter(const Operator& op, const Operand& operand) {
  return leading_dtype(op) == &operand ? "dtype" : operand.name + "_dtype";
}

// bf16 where it is allowed; empty, which follows `dtype`, for a further operand that may have every dtype of
// the first.
std::string default_dtype(const Operator& op, const Operand& operand) {
  const Operand* leading = leading_dtype(op);
  if (leading != &operand && (operand.dtypes.bits & leading->dtypes.bits) == leading->dtypes.bits) return "";
  return std::string(
      strobe::name(operand.dtypes.contains(Dtype::kBf16) ? Dtype::kBf16 : operand.dtypes.first()));
}

Dtype free_dtype(const Operator& op, const Operand& operand, const Case& values) {
  const std::string parameter = dtype_parameter(op, operand);
  return values.dtype(values.text(parameter).empty() ? "dtype" : parameter);
}

double parse_attribute(const Attribute& attribute, const Case& values) {
  switch (attribute.kind) {
    case AttributeKind::kBool:
      return values.flag(attribute.name);
    case AttributeKind::kInt:
      return static_cast<double>(values.integer(attribute.name, static_cast<std::int64_t>(attribute.low)));
    case AttributeKind::kFloat:
      return values.number(attribute.name);
    case AttributeKind::kEnum:
      break;
  }
  const auto found =
      std::find(attribute.choices.begin(), attribute.choices.end(), values.text(attribute.name));
  if (found == attribute.choices.end())
    fail(ErrorKind::kInvalidArgument, "{}: expected one of {}, got '{}'", attribute.name,
         fmt::join(attribute.choices, ", "), values.text(attribute.name));
  return static_cast<double>(found - attribute.choices.begin());
}

Tensor allocate(const Operand& operand, Dtype dtype, const Axes& axes, bool hnd) {
  const AxisList& list = hnd && !operand.axes_hnd.terms.empty() ? operand.axes_hnd : operand.axes;
  std::vector<std::int64_t> shape;
  for (const AxisTerm& term : list.terms)
    shape.push_back(term.axis < 0 ? term.offset : term.scale * axes[term.axis] + term.offset);
  return Tensor(dtype, shape);
}

// Allocates and fills every operand that is not optional; an output that may alias an input gets memory of
// its own.
Problem make_derived(const Operator& op, const Case& values, Random& random) {
  Problem problem;
  problem.op = &op;
  problem.args = op.make_args();
  void* args = problem.args.get();
  for (const Attribute& attribute : op.attributes) attribute.set(args, parse_attribute(attribute, values));
  Axes axes;
  for (std::size_t i = 0; i < op.axes.size(); ++i) axes.size[i] = values.integer(op.axes[i].name, 0);
  const bool hnd = op.is_hnd != nullptr && op.is_hnd(args);
  for (const Operand& operand : op.operands) {
    if (operand.optional) continue;
    const Dtype dtype = operand.same_dtype_as >= 0
                            ? op.operands[static_cast<std::size_t>(operand.same_dtype_as)].of(args).dtype
                        : has_free_dtype(operand) ? free_dtype(op, operand, values)
                                                  : operand.dtypes.first();
    problem.tensors.push_back(allocate(operand, dtype, axes, hnd));
    operand.view(args) = problem.tensors.back();
    if (operand.fill != nullptr)
      operand.fill(operand.view(args), axes, args, random);
    else if (operand.role == Role::kOutput)
      fill_poison(operand.view(args));
    else
      fill_normal(operand.view(args), random);
  }
  bind_calls(problem, Phase::kRun);
  return problem;
}

ValueRule rule_of(const Attribute& attribute) {
  switch (attribute.kind) {
    case AttributeKind::kBool:
      return ValueRule::flag();
    case AttributeKind::kInt:
      return {.kind = ValueRule::Kind::kInteger, .low = attribute.low, .high = attribute.high};
    case AttributeKind::kFloat:
      return ValueRule::number(attribute.low, attribute.high);
    case AttributeKind::kEnum:
      break;
  }
  return ValueRule::choice({attribute.choices.begin(), attribute.choices.end()});
}

Routine derive(const Operator& op) {
  Routine routine;
  routine.name = op.name;
  routine.doc = op.summary;
  routine.make = &make_derived;
  for (const Axis& axis : op.axes)
    routine.parameters.push_back(
        {axis.name, std::to_string(axis.default_size), axis.doc, ValueRule::integer(0)});
  for (const Operand& operand : op.operands)
    if (!operand.optional && has_free_dtype(operand))
      routine.parameters.push_back({dtype_parameter(op, operand), default_dtype(op, operand),
                                    fmt::format("dtype of {}: {}", operand.name, to_string(operand.dtypes)),
                                    ValueRule::dtype(operand.dtypes)});
  const std::shared_ptr<void> defaults = op.make_args();
  for (const Attribute& attribute : op.attributes)
    routine.parameters.push_back(
        {attribute.name, attribute.text(defaults.get()), attribute.doc, rule_of(attribute)});
  return routine;
}

}  // namespace

void bind_calls(Problem& problem, Phase last) {
  const Operator& op = *problem.op;
  if (op.make_planned == nullptr) {
    validate(op, problem.args.get(), Phase::kRun, problem.axes);
    problem.run = [op = &op, args = problem.args](const Launch& launch) {
      call_erased(*op, args.get(), launch);
    };
    return;
  }
  validate(op, problem.args.get(), Phase::kPlan, problem.axes);
  if (last == Phase::kRun) validate(op, problem.args.get(), Phase::kRun, problem.axes);
  const std::shared_ptr<Planned> planned = op.make_planned();
  problem.state = planned;
  problem.plan = [planned, args = problem.args](const Launch& launch) { planned->plan(args.get(), launch); };
  problem.run = [planned, args = problem.args](const Launch& launch) { planned->run(args.get(), launch); };
}

std::vector<Routine> routines_of(const Operator& op) {
  return op.routines.empty() ? std::vector{derive(op)} : op.routines;
}

NamedRoutine find_routine(std::string_view name) {
  std::vector<std::string> names;
  for (const Operator* op : registry().all())
    for (Routine& routine : routines_of(*op)) {
      if (routine.name == name) return {op, std::move(routine)};
      names.push_back(routine.name);
    }
  fail(ErrorKind::kInvalidArgument, "unknown routine '{}'; known: {}", name, fmt::join(names, ", "));
}

}  // namespace strobe::op
