#include "trace/validate_workload.h"

#include <array>
#include <cstring>
#include <map>
#include <utility>

#include "core/message.h"
#include "core/safetensors.h"
#include "trace/constraint.h"
#include "trace/files.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;

// The schema's dtypes and the safetensors format's.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kStoredDtypes = {
    {{"float32", "F32"},
     {"float16", "F16"},
     {"bfloat16", "BF16"},
     {"float8_e4m3fn", "F8_E4M3"},
     {"float8_e5m2", "F8_E5M2"},
     {"int64", "I64"},
     {"int32", "I32"},
     {"int16", "I16"},
     {"int8", "I8"},
     {"bool", "BOOL"}}};

class WorkloadCheck {
 public:
  WorkloadCheck(const Definition& definition, const Workload& workload, const fs::path& data_set)
      : definition_(definition), workload_(workload), data_set_(data_set) {}

  std::vector<Message> messages() {
    check_axes();
    check_inputs();
    for (const std::string& constraint : definition_.constraints) check_constraint(constraint);
    return std::move(messages_);
  }

 private:
  template <class... Args>
  void report(Level level, fmt::format_string<Args...> format, Args&&... args) {
    messages_.push_back({level, fmt::format(format, std::forward<Args>(args)...)});
  }

  void check_axes() {
    for (const Axis& axis : definition_.axes)
      if (!axis.value && !workload_.axis(axis.name))
        report(Level::kError, "axis '{}' has no value", axis.name);
    for (const auto& [name, value] : workload_.axes) {
      const Axis* axis = definition_.axis(name);
      if (axis == nullptr || axis->value)
        report(Level::kError, "axis '{}' is no variable axis of the definition", name);
      else if (value <= 0)
        report(Level::kError, "axis '{}': expected a size above 0, got {}", name, value);
    }
  }

  void check_inputs() {
    for (const TensorSpec& input : definition_.inputs)
      if (workload_.input(input.name) == nullptr && !input.optional)
        report(Level::kError, "input '{}' is missing", input.name);
    for (const auto& [name, input] : workload_.inputs) {
      const TensorSpec* spec = definition_.input(name);
      if (spec == nullptr) {
        report(Level::kError, "input '{}' is none of the definition", name);
      } else if (std::holds_alternative<ScalarInput>(input) != !spec->shape) {
        report(Level::kError, "input '{}' is {}", name,
               spec->shape ? "a tensor, and its value a scalar" : "a scalar, and its value none");
      } else if (const auto* file = std::get_if<FileInput>(&input)) {
        check_file(*spec, *file);
      }
    }
  }

  void check_file(const TensorSpec& spec, const FileInput& input) {
    const fs::path path = data_set_ / input.path;  // an absolute path stays as it is
    if (!fs::is_regular_file(path)) {
      report(Level::kError, "input '{}': there is no file {}", spec.name, input.path);
      return;
    }
    try {
      const auto& header = header_of(path);
      const auto found = header.find(input.tensor_key);
      if (found == header.end())
        report(Level::kError, "input '{}': {} has no tensor '{}'", spec.name, input.path, input.tensor_key);
      else
        check_stored(spec, input, found->second);
    } catch (const Error& error) {
      report(Level::kError, "input '{}': {}", spec.name, error.what());
    }
  }

  void check_stored(const TensorSpec& spec, const FileInput& input, const SafetensorsEntry& stored) {
    const std::vector<std::int64_t> expected = shape_of(spec);
    if (stored.shape != expected)
      report(Level::kError, "input '{}': expected the shape [{}] ({}), got [{}] in {}", spec.name,
             fmt::join(expected, ", "), fmt::join(*spec.shape, ", "), fmt::join(stored.shape, ", "),
             input.path);
    for (const auto& [dtype, stored_dtype] : kStoredDtypes)
      if (dtype == spec.dtype && stored_dtype != stored.dtype)
        report(Level::kError, "input '{}': expected {}, got {} in {}", spec.name, dtype, stored.dtype,
               input.path);
  }

  const std::map<std::string, SafetensorsEntry>& header_of(const fs::path& path) {
    const auto [place, is_new] = headers_.try_emplace(path);
    if (is_new) {
      if (is_pointer(path))
        fail(ErrorKind::kIo, "{} is a Git-LFS pointer: fetch the file with git lfs pull", path.string());
      place->second = read_safetensors_header(path.string());
    }
    return place->second;
  }
  static bool is_pointer(const fs::path& path) {
    constexpr std::uintmax_t kMostPointerBytes = 1024;
    return fs::file_size(path) <= kMostPointerBytes && is_lfs_pointer(read_file(path));
  }

  // -1 for an axis without a value, which check_axes reports.
  std::vector<std::int64_t> shape_of(const TensorSpec& spec) const {
    std::vector<std::int64_t> shape;
    for (const std::string& name : *spec.shape)
      shape.push_back(definition_.axis(name)->value.value_or(workload_.axis(name).value_or(-1)));
    return shape;
  }

  void check_constraint(const std::string& constraint) {
    const Verdict verdict = evaluate(constraint, [this](std::string_view name) { return value_of(name); });
    if (!verdict.holds)
      report(Level::kInfo, "constraint '{}' was not evaluated: {}", constraint, verdict.why);
    else if (!*verdict.holds)
      report(Level::kError, "constraint '{}' does not hold", constraint);
  }

  std::optional<Operand> value_of(std::string_view name) const {
    if (const Axis* axis = definition_.axis(name)) {
      const std::optional<std::int64_t> size = axis->value ? axis->value : workload_.axis(name);
      return size ? std::optional<Operand>(*size) : std::nullopt;
    }
    const TensorSpec* spec = definition_.input(name);
    const WorkloadInput* input = workload_.input(name);
    if (spec == nullptr || input == nullptr) return {};
    if (const auto* scalar = std::get_if<ScalarInput>(input))
      return std::visit(
          [](auto value) -> Operand {
            if constexpr (std::is_same_v<decltype(value), double>)
              return value;
            else
              return static_cast<std::int64_t>(value);
          },
          scalar->value);
    if (!spec->shape) return {};
    IntegerTensor tensor{shape_of(*spec), {}};
    if (const auto* file = std::get_if<FileInput>(input)) tensor.elements = integers_of(*file);
    return tensor;
  }

  // None when the tensor is not one of integers, or cannot be read, which check_file reports.
  std::optional<std::vector<std::int64_t>> integers_of(const FileInput& input) const {
    try {
      const Tensor tensor = read_safetensors_tensor((data_set_ / input.path).string(), input.tensor_key);
      const TensorView& view = tensor.view();
      if (view.dtype != Dtype::kI32 && view.dtype != Dtype::kI64) return {};
      std::vector<std::int64_t> values(static_cast<std::size_t>(view.bytes()) / size_of(view.dtype));
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = view.dtype == Dtype::kI64 ? tensor.as<std::int64_t>()[i] : tensor.as<std::int32_t>()[i];
      return values;
    } catch (const Error&) {
      return {};
    }
  }

  const Definition& definition_;
  const Workload& workload_;
  const fs::path& data_set_;
  std::map<fs::path, std::map<std::string, SafetensorsEntry>> headers_;
  std::vector<Message> messages_;
};

}  // namespace

std::vector<Message> workload_messages(const Definition& definition, const Workload& workload,
                                       const fs::path& data_set) {
  return WorkloadCheck(definition, workload, data_set).messages();
}

}  // namespace strobe::trace
