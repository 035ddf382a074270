#include "ffi/describe.h"

#include <nlohmann/json.hpp>

#include "op/operator.h"

namespace strobe::ffi {
namespace {

using nlohmann::json;
using op::Attribute;
using op::AttributeKind;
using op::Operand;
using op::Operator;

std::string_view name(op::Phase phase) { return phase == op::Phase::kPlan ? "plan" : "run"; }

std::string_view name(op::Role role) {
  return role == op::Role::kInput ? "input" : role == op::Role::kOutput ? "output" : "inout";
}

json describe_operand(const Operator& op, const Operand& operand) {
  json dtypes = json::array(), may_alias = json::array();
  for (int i = 0; i < kDtypeCount; ++i)
    if (operand.dtypes.contains(static_cast<Dtype>(i))) dtypes.push_back(strobe::name(static_cast<Dtype>(i)));
  for (int input : operand.may_alias) may_alias.push_back(op.operands[static_cast<std::size_t>(input)].name);
  json entry{{"name", operand.name},         {"doc", operand.doc},           {"role", name(operand.role)},
             {"phase", name(operand.phase)}, {"axes", operand.axes.text},    {"dtypes", dtypes},
             {"may_alias", may_alias},       {"optional", operand.optional}, {"on_host", operand.on_host}};
  if (!operand.axes_hnd.text.empty()) entry["axes_hnd"] = operand.axes_hnd.text;
  if (operand.same_dtype_as >= 0)
    entry["same_dtype_as"] = op.operands[static_cast<std::size_t>(operand.same_dtype_as)].name;
  return entry;
}

json describe_attribute(const Attribute& attribute, const void* defaults) {
  json entry{{"name", attribute.name}, {"doc", attribute.doc}, {"phase", name(attribute.phase)}};
  const double value = attribute.get(defaults);
  switch (attribute.kind) {
    case AttributeKind::kBool:
      entry["kind"] = "bool";
      entry["default"] = value != 0;
      return entry;
    case AttributeKind::kInt:
      entry["kind"] = "int";
      entry["default"] = static_cast<std::int64_t>(value);
      break;
    case AttributeKind::kFloat:
      entry["kind"] = "float";
      entry["default"] = value;
      break;
    case AttributeKind::kEnum:
      entry["kind"] = "enum";
      entry["choices"] = attribute.choices;
      entry["default"] = attribute.text(defaults);
      return entry;
  }
  entry["low"] = attribute.low;
  entry["high"] = attribute.high;
  return entry;
}

json describe_operator(const Operator& op) {
  json axes = json::array(), operands = json::array(), attributes = json::array(), backends = json::array();
  for (const op::Axis& axis : op.axes) axes.push_back({{"name", axis.name}, {"doc", axis.doc}});
  for (const Operand& operand : op.operands) operands.push_back(describe_operand(op, operand));
  const std::shared_ptr<void> defaults = op.make_args();
  for (const Attribute& attribute : op.attributes)
    attributes.push_back(describe_attribute(attribute, defaults.get()));
  for (int i = 0; i < kBackendCount; ++i)
    if (op.backends[static_cast<std::size_t>(i)] != nullptr)
      backends.push_back(strobe::name(static_cast<Backend>(i)));
  return {{"name", op.name},
          {"family", op.family},
          {"summary", op.summary},
          {"formula", op.formula},
          {"source", op.source},
          {"rules", op.rules},
          {"axes", axes},
          {"operands", operands},
          {"attributes", attributes},
          {"backends", backends},
          {"planned", op.make_planned != nullptr}};
}

}  // namespace

const std::string& describe_operators() {
  static const std::string text = [] {
    json operators = json::array();
    for (const Operator* op : op::registry().all()) operators.push_back(describe_operator(*op));
    return operators.dump();
  }();
  return text;
}

}  // namespace strobe::ffi
