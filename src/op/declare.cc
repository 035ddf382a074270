#include "op/declare.h"

#include <charconv>
#include <stdexcept>

#include "core/message.h"

namespace strobe::op {
namespace {

// Declarations are part of the program: a mistake in one is a logic error that the first test run shows.
[[noreturn]] void broken(const Operator& op, std::string_view what) {
  throw std::logic_error(fmt::format("declaration of {}: {}", op.name, what));
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::int64_t parse_number(const Operator& op, std::string_view text) {
  std::int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{} || result.ptr != text.data() + text.size())
    broken(op, fmt::format("'{}' is not a number", text));
  return value;
}

// "head_dim", "2*hidden", "batch_size+1", "3"
AxisTerm parse_term(const Operator& op, std::string_view text) {
  AxisTerm term;
  if (const auto star = text.find('*'); star != std::string_view::npos) {
    term.scale = parse_number(op, trim(text.substr(0, star)));
    text = trim(text.substr(star + 1));
  }
  if (const auto plus = text.find('+'); plus != std::string_view::npos) {
    term.offset = parse_number(op, trim(text.substr(plus + 1)));
    text = trim(text.substr(0, plus));
  }
  if (text.front() >= '0' && text.front() <= '9')
    term.offset = parse_number(op, text);
  else
    term.axis = op.axis(text);
  return term;
}

}  // namespace

DeclareBase::DeclareBase(std::string name, std::string family, std::string summary) {
  op_.name = std::move(name);
  op_.family = std::move(family);
  op_.summary = std::move(summary);
}

AxisList DeclareBase::parse_axes(const std::string& text) const {
  AxisList list;
  list.text = text;
  for (std::string_view rest = text; !trim(rest).empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    std::string_view term = trim(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (term.ends_with("...")) {
      if (!list.terms.empty()) broken(op_, "only the first axis may stand for several");
      list.any_leading = true;
      term.remove_suffix(3);
    }
    list.terms.push_back(parse_term(op_, term));
  }
  if (list.terms.size() > kMaxRank) broken(op_, "an operand has too many axes");
  return list;
}

void DeclareBase::add_operand(std::string name, Role role, const std::string& axes, std::string doc,
                              TensorView& (*view)(void*)) {
  Operand operand;
  operand.name = std::move(name);
  operand.doc = std::move(doc);
  operand.role = role;
  operand.axes = parse_axes(axes);
  operand.view = view;
  op_.operands.push_back(std::move(operand));
  attribute_last_ = false;
}

void DeclareBase::add_attribute(Attribute attribute, std::string name, std::string doc) {
  attribute.name = std::move(name);
  attribute.doc = std::move(doc);
  op_.attributes.push_back(std::move(attribute));
  attribute_last_ = true;
}

Operator DeclareBase::build() {
  if (op_.axes.size() > kMaxAxes) broken(op_, "too many axes");
  if (op_.summary.empty() || op_.formula.empty() || op_.function.empty())
    broken(op_, "summary, formula and function are needed");
  if (op_.cost == nullptr || op_.accuracy == nullptr || op_.reference == nullptr)
    broken(op_, "cost, accuracy and reference are needed");
  bool implemented = !op_.routines.empty();
  for (const auto& backend : op_.backends) implemented |= backend != nullptr;
  if (!implemented) broken(op_, "a backend (or, for a planned operator, a routine) is needed");
  for (const Operand& operand : op_.operands)
    if (operand.written() && operand.phase == Phase::kPlan) broken(op_, "plan writes no operand");
  return std::move(op_);
}

}  // namespace strobe::op
