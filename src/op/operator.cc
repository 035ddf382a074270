#include "op/operator.h"

#include <fmt/format.h>

#include <stdexcept>

#include "core/message.h"
#include "op/builtin.h"

namespace strobe::op {

std::vector<std::string_view> dtype_names() {
  std::vector<std::string_view> names;
  for (int i = 0; i < kDtypeCount; ++i) names.push_back(strobe::name(static_cast<Dtype>(i)));
  return names;
}

std::string to_string(DtypeSet set) {
  std::string text;
  int left = set.count();
  for (int i = 0; i < kDtypeCount; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    if (!set.contains(dtype)) continue;
    text += strobe::name(dtype);
    --left;
    text += left > 1 ? ", " : left == 1 ? " or " : "";
  }
  return text;
}

std::string Attribute::text(const void* args) const {
  const double value = get(args);
  switch (kind) {
    case AttributeKind::kBool:
      return value != 0 ? "true" : "false";
    case AttributeKind::kInt:
      return fmt::format("{}", static_cast<std::int64_t>(value));
    case AttributeKind::kFloat:
      return fmt::format("{}", static_cast<float>(value));
    case AttributeKind::kEnum: {
      const auto index = static_cast<std::size_t>(value);
      return index < choices.size() ? std::string(choices[index]) : fmt::format("#{}", index);
    }
  }
  return "";
}

int Operator::operand(std::string_view wanted) const {
  for (std::size_t i = 0; i < operands.size(); ++i)
    if (operands[i].name == wanted) return static_cast<int>(i);
  throw std::out_of_range(fmt::format("{} declares no operand '{}'", name, wanted));
}

int Operator::axis(std::string_view wanted) const {
  for (std::size_t i = 0; i < axes.size(); ++i)
    if (axes[i].name == wanted) return static_cast<int>(i);
  throw std::out_of_range(fmt::format("{} declares no axis '{}'", name, wanted));
}

void Registry::add(const Operator& op) {
  if (find(op.name) != nullptr) fail(ErrorKind::kInvalidArgument, "operator '{}' is declared twice", op.name);
  operators_.push_back(&op);
}

const Operator* Registry::find(std::string_view name) const {
  for (const Operator* op : operators_)
    if (op->name == name) return op;
  return nullptr;
}

Registry& registry() {
  static Registry instance = [] {
    Registry built;
    declare_builtin(built);
    return built;
  }();
  return instance;
}

}  // namespace strobe::op
