#include "op/docs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace strobe::op {
namespace {

// Text for a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c == '|') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result;
}

std::string role_text(const Operator& op, const Operand& operand) {
  std::string text = operand.role == Role::kInput ? "in" : operand.role == Role::kOutput ? "out" : "in/out";
  if (operand.optional) text += ", optional";
  if (operand.on_host) text += ", host";
  for (int other : operand.may_alias) text += ", may be " + op.operands[static_cast<std::size_t>(other)].name;
  return text;
}

std::string shape_text(const Operand& operand) {
  std::string text = fmt::format("[{}]", operand.axes.text);
  if (!operand.axes_hnd.terms.empty()) text += fmt::format("; HND: [{}]", operand.axes_hnd.text);
  return text;
}

std::string dtype_text(const Operator& op, const Operand& operand) {
  if (operand.same_dtype_as >= 0)
    return "that of " + op.operands[static_cast<std::size_t>(operand.same_dtype_as)].name;
  return to_string(operand.dtypes);
}

bool has_plan(const Operator& op) {
  return std::any_of(op.operands.begin(), op.operands.end(),
                     [](const Operand& operand) { return operand.phase == Phase::kPlan; }) ||
         std::any_of(op.attributes.begin(), op.attributes.end(),
                     [](const Attribute& a) { return a.phase == Phase::kPlan; });
}

const char* phase_text(Phase phase) { return phase == Phase::kPlan ? " plan |" : " run |"; }

std::string operand_table(const Operator& op) {
  const bool phases = has_plan(op);
  std::string text = fmt::format("| operand |{} role | shape | dtype | meaning |\n|---|{}---|---|---|---|\n",
                                 phases ? " phase |" : "", phases ? "---|" : "");
  for (const Operand& operand : op.operands)
    text += fmt::format("| `{}` |{} {} | {} | {} | {}{} |\n", operand.name,
                        phases ? phase_text(operand.phase) : "", role_text(op, operand),
                        cell(shape_text(operand)), dtype_text(op, operand), cell(operand.doc),
                        operand.strides == Strides::kDense ? "; dense" : "");
  return text;
}

std::string bound_text(double bound) {
  if (std::abs(bound) >= std::numeric_limits<float>::max()) return bound < 0 ? "−∞" : "∞";
  return fmt::format("{}", bound);
}

std::string range_text(const Attribute& attribute) {
  switch (attribute.kind) {
    case AttributeKind::kBool:
      return "true or false";
    case AttributeKind::kInt:
      return fmt::format("integer in [{}, {}]", bound_text(attribute.low), bound_text(attribute.high));
    case AttributeKind::kFloat:
      return fmt::format("number in [{}, {}]", bound_text(attribute.low), bound_text(attribute.high));
    case AttributeKind::kEnum:
      return fmt::format("{}", fmt::join(attribute.choices, ", "));
  }
  return "";
}

std::string attribute_table(const Operator& op) {
  if (op.attributes.empty()) return "";
  const bool phases = has_plan(op);
  const std::shared_ptr<void> defaults = op.make_args();
  std::string text = fmt::format("\n| attribute |{} values | default | meaning |\n|---|{}---|---|---|\n",
                                 phases ? " phase |" : "", phases ? "---|" : "");
  for (const Attribute& attribute : op.attributes)
    text +=
        fmt::format("| `{}` |{} {} | {} | {} |\n", attribute.name, phases ? phase_text(attribute.phase) : "",
                    range_text(attribute), attribute.text(defaults.get()), cell(attribute.doc));
  return text;
}

std::string axes_line(const Operator& op) {
  std::string text;
  for (const Axis& axis : op.axes)
    text += fmt::format("{}`{}` ({})", text.empty() ? "" : ", ", axis.name, axis.doc);
  return text.empty() ? "" : "\nAxes: " + text + ".\n";
}

std::string rules_list(const Operator& op) {
  if (op.rules.empty()) return "";
  std::string text = "\nRules:\n\n";
  for (const std::string& rule : op.rules) text += fmt::format("- {}\n", rule);
  return text;
}

std::string backends_line(const Operator& op) {
  std::string text;
  for (int i = 0; i < kBackendCount; ++i)
    if (op.has(static_cast<Backend>(i)))
      text += fmt::format("{}{}", text.empty() ? "" : ", ", strobe::name(static_cast<Backend>(i)));
  return text.empty() ? "" : fmt::format("\nBackends: {}.\n", text);
}

std::string routines_line(const Operator& op) {
  std::vector<std::string> names;
  for (const Routine& routine : routines_of(op)) names.push_back(fmt::format("`{}`", routine.name));
  return fmt::format("\nBenchmark: `strobe bench --routine` {}.\n", fmt::join(names, ", "));
}

}  // namespace

std::string markdown(const Operator& op) {
  std::string text = fmt::format("## {}\n\n{}\n\n```\n{}\n```\n\nC++: `{}`\n\n", op.name, op.summary,
                                 op.formula, op.function);
  text += operand_table(op) + attribute_table(op) + axes_line(op) + rules_list(op) + backends_line(op) +
          routines_line(op);
  if (!op.source.empty()) text += fmt::format("\nSource: {}.\n", op.source);
  return text;
}

std::string operators_page(std::span<const Operator* const> operators) {
  std::string text =
      "# Operators\n\n"
      "Written by `strobe docs` from the declarations in `src/ops`; edit those, then run `make docs`.\n\n";
  for (const Operator* op : operators) text += fmt::format("- [{0}](#{0}): {1}\n", op->name, op->summary);
  for (const Operator* op : operators) text += "\n" + markdown(*op);
  return text;
}

}  // namespace strobe::op
