#include <algorithm>
#include <array>
#include <set>

#include "core/message.h"
#include "trace/fields.h"
#include "trace/python_text.h"

namespace strobe::trace {
namespace {

constexpr std::array<std::string_view, 11> kDtypes = {
    "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1",
    "int64",   "int32",   "int16",    "int8",          "bool"};
constexpr std::array<std::string_view, 8> kFlashInferDtypes = {"unknown", "uint8",   "uint16", "uint32",
                                                               "uint64",  "float64", "string", "dtype"};

template <class List>
bool among(const List& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

Axis read_axis(const std::string& name, const Field& field, Dialect dialect) {
  Axis axis{.name = name, .value = {}, .description = optional_text(field, "description")};
  const std::optional<Field> value = field.find("value");
  // A file that was written without defaults has no type.
  const std::string type = field.find("type") ? field.at("type").choice({"const", "var"})
                           : value            ? "const"
                                              : "var";
  const bool unknown_value = dialect == Dialect::kFlashInfer && (!value || value->is_null());
  if (type == "const" && !unknown_value) axis.value = field.at("value").count();
  return axis;
}

TensorSpec read_tensor(const std::string& name, const Field& field, const Definition& definition,
                       Dialect dialect) {
  TensorSpec tensor{.name = name, .description = optional_text(field, "description")};
  if (const Field shape = field.at("shape"); !shape.is_null()) {
    tensor.shape = shape.names();
    for (const std::string& axis : *tensor.shape)
      if (definition.axis(axis) == nullptr) shape.expected(fmt::format("names of axes; '{}' is none", axis));
  }
  const Field dtype = field.at("dtype");
  tensor.dtype = dtype.text();
  const bool known = among(kDtypes, tensor.dtype) ||
                     (dialect == Dialect::kFlashInfer && among(kFlashInferDtypes, tensor.dtype));
  if (!known) dtype.expected(fmt::format("one of {}", fmt::join(kDtypes, ", ")));
  if (dialect == Dialect::kFlashInfer) {
    tensor.optional = value_or(field, "optional", &Field::boolean, false);
    tensor.param = optional_text(field, "param").value_or("");
  }
  return tensor;
}

std::vector<TensorSpec> read_tensors(const Field& field, const Definition& definition, Dialect dialect) {
  std::vector<TensorSpec> tensors;
  for (const auto& [name, spec] : field.members())
    tensors.push_back(read_tensor(name, spec, definition, dialect));
  return tensors;
}

void check_reference(const Field& field, const std::string& reference, Dialect dialect) {
  const std::string problem = python_problem(reference);
  if (!problem.empty()) field.expected(fmt::format("Python ({})", problem));
  if (dialect == Dialect::kBench && !defines_function(reference, "run"))
    field.expected("a function named run at the top level");
}

}  // namespace

const Axis* Definition::axis(std::string_view axis_name) const {
  for (const Axis& axis : axes)
    if (axis.name == axis_name) return &axis;
  return nullptr;
}

const TensorSpec* Definition::input(std::string_view input_name) const {
  for (const TensorSpec& input : inputs)
    if (input.name == input_name) return &input;
  return nullptr;
}

Definition read_definition(const Json& json, const std::string& where, Dialect dialect) {
  const Field field(json, where);
  Definition definition;
  definition.name = field.at("name").name();
  definition.op_type = field.at("op_type").name();
  for (const auto& [name, axis] : field.at("axes").members())
    definition.axes.push_back(read_axis(name, axis, dialect));
  definition.inputs = read_tensors(field.at("inputs"), definition, dialect);
  definition.outputs = read_tensors(field.at("outputs"), definition, dialect);
  for (const TensorSpec& output : definition.outputs)
    if (definition.input(output.name) != nullptr && dialect == Dialect::kBench)
      field.at("outputs").expected(fmt::format("names that no input has; '{}' is one", output.name));
  const bool without_reference = dialect == Dialect::kFlashInfer && !field.find("reference");
  if (!without_reference) {
    definition.reference = field.at("reference").name();
    check_reference(field.at("reference"), definition.reference, dialect);
  }
  definition.tags = value_or(field, "tags", &Field::names, {});
  definition.description = optional_text(field, "description");
  definition.constraints = value_or(field, "constraints", &Field::names, {});
  for (const std::string& constraint : definition.constraints)
    if (const std::string problem = python_problem(constraint); !problem.empty())
      field.at("constraints").expected(fmt::format("Python expressions ({})", problem));
  return definition;
}

namespace {

void add_description(Json& json, const std::optional<std::string>& description) {
  if (description) json["description"] = *description;
}

Json tensors_json(const std::vector<TensorSpec>& tensors) {
  Json json = Json::object();
  for (const TensorSpec& tensor : tensors) {
    Json& entry = json[tensor.name] = Json::object();
    entry["shape"] = tensor.shape ? Json(*tensor.shape) : Json();
    entry["dtype"] = tensor.dtype;
    add_description(entry, tensor.description);
  }
  return json;
}

}  // namespace

Json to_json(const Definition& definition) {
  Json json = {{"name", definition.name}, {"op_type", definition.op_type}};
  Json& axes = json["axes"] = Json::object();
  for (const Axis& axis : definition.axes) {
    Json& entry = axes[axis.name] = Json::object();
    entry["type"] = axis.value ? "const" : "var";
    if (axis.value) entry["value"] = *axis.value;
    add_description(entry, axis.description);
  }
  json["inputs"] = tensors_json(definition.inputs);
  json["outputs"] = tensors_json(definition.outputs);
  json["reference"] = definition.reference;
  json["tags"] = definition.tags;
  add_description(json, definition.description);
  json["constraints"] = definition.constraints;
  return json;
}

}  // namespace strobe::trace
