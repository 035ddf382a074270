#include "ops/attention_variant.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <mutex>
#include <set>

#include "core/message.h"
#include "op/dtype_set.h"

namespace strobe::inline v1 {
namespace {

using ops::kVariantHeader;
using ops::VariantRecord;

constexpr op::DtypeSet kTensorDtypes = {Dtype::kF32, Dtype::kI8,  Dtype::kU8,
                                        Dtype::kI32, Dtype::kI64, Dtype::kBool};
constexpr std::size_t kMostArguments = kernel::kMostVariantArguments;

std::string_view type_name(Dtype dtype) {
  switch (dtype) {
    case Dtype::kI8:
      return "signed char";
    case Dtype::kU8:
      return "unsigned char";
    case Dtype::kI32:
      return "int";
    case Dtype::kI64:
      return "long long";
    case Dtype::kBool:
      return "bool";
    default:
      return "float";
  }
}

std::string_view type_name(VariantScalarType type) {
  constexpr std::string_view kNames[] = {"float", "double", "int", "long long"};
  return kNames[static_cast<std::size_t>(type)];
}

bool is_part_of_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

bool is_identifier(std::string_view name) {
  return !name.empty() && !std::isdigit(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(), is_part_of_name);
}

void check(const AttentionVariantText& text) {
  if (!is_identifier(text.name))
    fail(ErrorKind::kInvalidArgument,
         "attention variant: name: expected the C++ identifier of the text's struct, got '{}'", text.name);
  const auto reject = [&](const std::string& what) {
    fail(ErrorKind::kInvalidArgument, "attention variant {}: {}", text.name, what);
  };
  if (text.text.find_first_not_of(" \t\r\n") == std::string::npos)
    reject("text: expected the definition of a struct, got nothing");
  if (text.tensors.size() + text.scalars.size() > kMostArguments)
    reject(fmt::format("expected at most {} tensors and scalars, got {}", kMostArguments,
                       text.tensors.size() + text.scalars.size()));
  std::set<std::string_view> names;
  const auto check_name = [&](std::string_view name) {
    if (!is_identifier(name))
      reject(fmt::format("expected C++ identifiers as names of tensors and scalars, got '{}'", name));
    if (!names.insert(name).second) reject(fmt::format("expected names that differ, got '{}' twice", name));
  };
  for (const VariantTensor& tensor : text.tensors) {
    check_name(tensor.name);
    if (!kTensorDtypes.contains(tensor.dtype))
      reject(fmt::format("tensor {}: expected dtype {}, got {}", tensor.name, op::to_string(kTensorDtypes),
                         name(tensor.dtype)));
  }
  for (const VariantScalar& scalar : text.scalars) check_name(scalar.name);
}

std::string params_struct(const AttentionVariantText& text) {
  std::string members, values;
  std::size_t slot = 0;
  for (const VariantTensor& tensor : text.tensors) {
    const std::string type = fmt::format("{}*", type_name(tensor.dtype));
    members += fmt::format("  {} {};\n", type, tensor.name);
    values += fmt::format(",\n        {}(reinterpret_cast<{}>(arguments[{}]))", tensor.name, type, slot++);
  }
  for (const VariantScalar& scalar : text.scalars) {
    members += fmt::format("  {} {};\n", type_name(scalar.type), scalar.name);
    values += fmt::format(",\n        {}(strobe::variant::scalar<{}>(arguments[{}]))", scalar.name,
                          type_name(scalar.type), slot++);
  }
  return fmt::format(
      "struct Params : strobe::variant::BaseParams {{\n{}"
      "  STROBE_DEVICE Params(const strobe::variant::BaseParams& base, const uint64_t* arguments)\n"
      "      : strobe::variant::BaseParams(base){} {{}}\n}};\n",
      members, values);
}

// Diagnostics count the text's own lines, and name it.
std::string source_of(const AttentionVariantText& text) {
  return fmt::format(
      "#include \"attention/variant_flashinfer.h\"\n{}#line 1 \"{}\"\n{}\n#line 1 \"attention_variant\"\n"
      "using AttentionVariantText = {};\n",
      params_struct(text), text.name, text.text, text.name);
}

std::string without_comments(std::string_view text) {
  std::string code;
  while (!text.empty()) {
    const std::size_t begin = std::min(text.find("//"), text.find("/*"));
    code += text.substr(0, begin);
    if (begin == std::string_view::npos) break;
    const std::string_view end = text[begin + 1] == '/' ? "\n" : "*/";
    const std::size_t behind = text.find(end, begin + 2);
    if (behind == std::string_view::npos) break;
    text.remove_prefix(behind + end.size());
    code += '\n';
  }
  return code;
}

// Whether the code names a hook that changes queries or keys. A kernel needs to know before it is compiled;
// one that finds a hook that this has missed does not compile.
bool changes_rows(const std::string& text) {
  const std::string code = without_comments(text);
  std::string word;
  for (std::size_t i = 0; i <= code.size(); ++i) {
    const char c = i < code.size() ? code[i] : ' ';
    if (is_part_of_name(c)) {
      word += c;
      continue;
    }
    for (const std::string_view hook : {"query", "key", "REGISTER_QUERY_TRANSFORM", "REGISTER_KEY_TRANSFORM"})
      if (word == hook) return true;
    word.clear();
  }
  return false;
}

// What a definition is known by.
std::string key_of(const AttentionVariantText& text) { return text.name + '\0' + source_of(text); }

struct Registry {
  std::mutex mutex;
  std::deque<VariantRecord> records;  // that of id i is at i - 1
  std::deque<std::string> keys;
};

Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

std::int64_t device_slot(Device device) {
  return static_cast<std::int64_t>(device.type) << 32 | static_cast<std::int64_t>(device.index);
}

// The 8 bytes of a scalar, or nothing where its type does not hold it.
bool to_bits(VariantScalarType type, double value, std::int64_t& bits) {
  const auto holds = [&](double low, double high) {
    return value == std::trunc(value) && value >= low && value < high;
  };
  switch (type) {
    case VariantScalarType::kF32:
      bits = std::bit_cast<std::int32_t>(static_cast<float>(value));
      return !std::isfinite(value) ||
             std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max());
    case VariantScalarType::kF64:
      bits = std::bit_cast<std::int64_t>(value);
      return true;
    case VariantScalarType::kI32:
      if (!holds(-0x1p31, 0x1p31)) return false;
      bits = static_cast<std::int32_t>(value);
      return true;
    case VariantScalarType::kI64:
      if (!holds(-0x1p63, 0x1p63)) return false;
      bits = static_cast<std::int64_t>(value);
      return true;
  }
  return false;
}

}  // namespace

AttentionVariant define_attention_variant(const AttentionVariantText& text) {
  check(text);
  std::string key = key_of(text);
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto found = std::find(all.keys.begin(), all.keys.end(), key);
  if (found != all.keys.end()) return {static_cast<std::int32_t>(found - all.keys.begin()) + 1};
  all.keys.push_back(std::move(key));
  VariantRecord& record = all.records.emplace_back();
  record.id = static_cast<int>(all.records.size());
  record.text = text;
  record.source = source_of(text);
  record.cuda = op::variant_kernels(record.text.name, record.source);
  record.changes_rows = changes_rows(record.text.text);
  return {record.id};
}

VariantArguments::VariantArguments(AttentionVariant variant, std::span<const TensorView> tensors,
                                   std::span<const double> scalars) {
  const VariantRecord* record = ops::find_variant(variant);
  if (record == nullptr)
    fail(ErrorKind::kInvalidArgument, "variant arguments: expected a variant of this process, got {}",
         variant.id);
  const AttentionVariantText& text = record->text;
  const auto reject = [&](const std::string& what) {
    fail(ErrorKind::kInvalidArgument, "arguments of attention variant {}: {}", text.name, what);
  };
  if (tensors.size() != text.tensors.size() || scalars.size() != text.scalars.size())
    reject(fmt::format("expected {} tensors and {} scalars, got {} and {}", text.tensors.size(),
                       text.scalars.size(), tensors.size(), scalars.size()));
  slots_[0] = variant.id;
  slots_[1] = -1;
  count_ = static_cast<std::int64_t>(kVariantHeader);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& tensor = tensors[i];
    const VariantTensor& declared = text.tensors[i];
    if (!tensor.given()) {
      if (!declared.name.starts_with("maybe_"))
        reject(fmt::format("{}: expected a tensor, got nothing", declared.name));
      slots_[static_cast<std::size_t>(count_++)] = 0;
      continue;
    }
    if (tensor.dtype != declared.dtype || !tensor.is_dense())
      reject(fmt::format("{}: expected a dense tensor of {}, got {}", declared.name, name(declared.dtype),
                         describe(tensor)));
    if (slots_[1] >= 0 && slots_[1] != device_slot(tensor.device))
      reject(fmt::format("{}: expected all tensors on one device, got one on {}", declared.name,
                         to_string(tensor.device)));
    slots_[1] = device_slot(tensor.device);
    slots_[static_cast<std::size_t>(count_++)] =
        static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(tensor.data));
  }
  for (std::size_t i = 0; i < scalars.size(); ++i)
    if (!to_bits(text.scalars[i].type, scalars[i], slots_[static_cast<std::size_t>(count_++)]))
      reject(fmt::format("{}: expected a number that {} holds, got {}", text.scalars[i].name,
                         type_name(text.scalars[i].type), scalars[i]));
}

TensorView VariantArguments::view() const {
  return TensorView(const_cast<std::int64_t*>(slots_.data()), Dtype::kI64, {count_});
}

}  // namespace strobe::inline v1

namespace strobe::ops {

const VariantRecord* find_variant(AttentionVariant variant) {
  if (!variant) return nullptr;
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  if (variant.id < 1 || variant.id > static_cast<int>(all.records.size())) return nullptr;
  return &all.records[static_cast<std::size_t>(variant.id) - 1];
}

void read_variant_arguments(std::string_view op_name, const VariantRecord& variant, Device device,
                            const TensorView& arguments, kernel::VariantParams& params) {
  const auto reject = [&](const std::string& what) {
    fail(ErrorKind::kInvalidArgument, "{}: variant_arguments: {}", op_name, what);
  };
  if (!arguments.given()) {
    if (variant.arguments() > 0)
      reject(
          fmt::format("expected the {} of variant {}, got nothing", variant.arguments(), variant.text.name));
    return;
  }
  const auto* slots = arguments.as<const std::int64_t>();
  const auto count = static_cast<std::size_t>(arguments.shape[0]);
  if (count != kVariantHeader + variant.arguments() || slots[0] != variant.id)
    reject(fmt::format("expected those of the planned variant {}, got others", variant.text.name));
  if (slots[1] >= 0 && slots[1] != device_slot(device))
    reject(
        fmt::format("expected tensors on {}, the device of the plan, got them elsewhere", to_string(device)));
  static_assert(sizeof(std::uint64_t) == sizeof(std::int64_t));
  std::memcpy(params.arguments, slots + kVariantHeader, variant.arguments() * sizeof(std::int64_t));
}

}  // namespace strobe::ops
