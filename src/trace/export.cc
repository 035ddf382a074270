#include "trace/export.h"

#include <algorithm>
#include <set>

#include "core/message.h"

namespace strobe::trace {
namespace {

// As the schema spells them; it has no unsigned integers.
std::string_view schema_name(Dtype dtype) {
  if (dtype == Dtype::kU8) fail(ErrorKind::kUnsupported, "the schema has no uint8");
  constexpr std::string_view kNames[kDtypeCount] = {"float32",     "float16", "bfloat16", "float8_e4m3fn",
                                                    "float8_e5m2", "int8",    "int8",     "int32",
                                                    "int64",       "bool"};
  return kNames[static_cast<std::size_t>(dtype)];
}

class Exporter {
 public:
  Exporter(const op::Operator& op, const ExportOptions& options)
      : op_(op), options_(options), wanted_(parse_dtype(options.dtype)) {}

  Definition definition() {
    result_.op_type = op_.family;
    for (const op::Operand& operand : op_.operands)
      if (!operand.optional) add_operand(operand);
    result_.name = op_.name;
    for (const Axis& axis : result_.axes)
      if (axis.value && options_.axes.contains(axis.name))
        result_.name += fmt::format("_{}{}", axis.name, *axis.value);
    result_.name += fmt::format("_{}", schema_name(wanted_));
    result_.tags = {"status:verified"};
    result_.description = fmt::format("{} {}", op_.summary, op_.formula);
    result_.reference = reference();
    return result_;
  }

 private:
  Dtype dtype_of(const op::Operand& operand) const {
    if (operand.same_dtype_as >= 0)
      return dtype_of(op_.operands[static_cast<std::size_t>(operand.same_dtype_as)]);
    for (const Dtype dtype : {wanted_, Dtype::kF32})
      if (operand.dtypes.contains(dtype)) return dtype;
    for (int i = 0; i < kDtypeCount; ++i)
      if (operand.dtypes.contains(static_cast<Dtype>(i))) return static_cast<Dtype>(i);
    fail(ErrorKind::kInvalidArgument, "{}: {} has no dtype", op_.name, operand.name);
  }
  void add_operand(const op::Operand& operand) {
    TensorSpec spec{.name = operand.name,
                    .shape = std::vector<std::string>(),
                    .dtype = std::string(schema_name(dtype_of(operand))),
                    .description = operand.doc};
    for (const op::AxisTerm& term : operand.axes.terms) spec.shape->push_back(axis_of(term));
    if (operand.role != op::Role::kOutput) result_.inputs.push_back(spec);
    if (operand.role == op::Role::kInput) return;
    if (operand.role == op::Role::kInOut) spec.name += "_out";
    result_.outputs.push_back(spec);
  }

  // The name of an extent's axis, which is added to the definition at its first use.
  std::string axis_of(const op::AxisTerm& term) {
    if (term.axis < 0) return add_axis(fmt::format("extent_{}", term.offset), term.offset, "");
    const op::Axis& base = op_.axes[static_cast<std::size_t>(term.axis)];
    const auto given = options_.axes.find(base.name);
    const std::optional<std::int64_t> size =
        given == options_.axes.end() ? std::nullopt : std::optional<std::int64_t>(given->second);
    if (term.scale == 1 && term.offset == 0) return add_axis(base.name, size, base.doc);
    std::string name = base.name, text = base.name;
    if (term.scale != 1) {
      name += fmt::format("_x{}", term.scale);
      text = fmt::format("{} * {}", term.scale, text);
    }
    if (term.offset != 0) {
      name += fmt::format("_{}_{}", term.offset > 0 ? "plus" : "minus", std::abs(term.offset));
      text += fmt::format(" {} {}", term.offset > 0 ? '+' : '-', std::abs(term.offset));
    }
    add_axis(base.name, size, base.doc);
    made_of_[name] = term;
    const bool is_new = result_.axis(name) == nullptr;
    if (is_new) result_.constraints.push_back(fmt::format("{} == {}", name, text));
    return add_axis(name, size ? std::optional<std::int64_t>(*size * term.scale + term.offset) : std::nullopt,
                    text);
  }
  std::string add_axis(const std::string& name, std::optional<std::int64_t> value, const std::string& doc) {
    if (result_.axis(name) == nullptr)
      result_.axes.push_back({name, value, doc.empty() ? std::nullopt : std::optional<std::string>(doc)});
    return name;
  }

  // Where an axis's size can be read from: a constant, or an input's shape.
  std::string size_of_axis(const std::string& name) const {
    if (const Axis* axis = result_.axis(name); axis->value) return std::to_string(*axis->value);
    for (const TensorSpec& input : result_.inputs)
      for (std::size_t i = 0; input.shape && i < input.shape->size(); ++i) {
        const std::string extent = fmt::format("{}.shape[{}]", input.name, i);
        if ((*input.shape)[i] == name) return extent;
        const auto made = made_of_.find((*input.shape)[i]);
        if (made != made_of_.end() && op_.axes[static_cast<std::size_t>(made->second.axis)].name == name)
          return fmt::format("({} - {}) // {}", extent, made->second.offset, made->second.scale);
      }
    fail(ErrorKind::kUnsupported, "no input has the axis {}; give it a size with --axes {}=N", name, name);
  }

  std::string reference() const {
    std::string names, makes, results;
    for (const TensorSpec& input : result_.inputs) names += (names.empty() ? "" : ", ") + input.name;
    for (const TensorSpec& output : result_.outputs) {
      const bool in_place =
          output.name.ends_with("_out") && result_.input(output.name.substr(0, output.name.size() - 4));
      std::string shape;
      for (const std::string& axis : *output.shape)
        if (!in_place) shape += size_of_axis(axis) + ", ";
      makes += in_place ? fmt::format("    {} = {}.copy()\n", output.name,
                                      output.name.substr(0, output.name.size() - 4))
                        : fmt::format("    {} = np.empty(({}), np.dtype(\"{}\"))\n", output.name, shape,
                                      output.dtype);
      results += (results.empty() ? "" : ", ") + output.name;
    }
    std::string calls;
    if (op_.make_planned == nullptr) {
      calls = fmt::format("    strobe.ops.{}({})\n", op_.name, arguments(op::Phase::kRun));
    } else {
      calls = fmt::format("    planned = strobe.ops.{}()\n    planned.plan({})\n    planned.run({})\n",
                          op_.name, arguments(op::Phase::kPlan), arguments(op::Phase::kRun));
    }
    return fmt::format(
        "import ml_dtypes\nimport numpy as np\nimport strobe.ops\n\n\ndef run({}):\n{}{}    return {}\n",
        names, makes, calls, results);
  }
  std::string arguments(op::Phase phase) const {
    std::string text;
    const auto add = [&](const std::string& name, const std::string& value) {
      text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, value);
    };
    for (const op::Operand& operand : op_.operands)
      if (!operand.optional && operand.phase == phase)
        add(operand.name, operand.role == op::Role::kInOut ? operand.name + "_out" : operand.name);
    for (const op::Attribute& attribute : op_.attributes) {
      if (attribute.phase != phase) continue;
      if (result_.axis(attribute.name) != nullptr)
        add(attribute.name, size_of_axis(attribute.name));
      else if (const auto given = options_.values.find(attribute.name); given != options_.values.end())
        add(attribute.name, given->second);
    }
    return text;
  }

  const op::Operator& op_;
  const ExportOptions& options_;
  const Dtype wanted_;
  Definition result_;
  std::map<std::string, op::AxisTerm> made_of_;  // axes that are another one's multiple or sum
};

}  // namespace

Definition export_definition(const op::Operator& op, const ExportOptions& options) {
  return Exporter(op, options).definition();
}

}  // namespace strobe::trace
