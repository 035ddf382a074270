#include "ffi/values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "ffi/tvm_abi.h"
#include "op/validate.h"

namespace strobe::ffi {
namespace {

using op::Attribute;
using op::AttributeKind;
using op::Operand;
using op::Operator;
using op::reject;

template <class... Args>
[[noreturn]] void reject_type(const Operator& op, std::string_view argument,
                              fmt::format_string<Args...> format, Args&&... args) {
  throw TypeError(
      fmt::format("{}: {}: {}", op.name, argument, fmt::format(format, std::forward<Args>(args)...)));
}

constexpr int kDlInt = 0, kDlUint = 1, kDlFloat = 2, kDlBfloat = 4, kDlBool = 6, kDlE4m3 = 10, kDlE5m2 = 12;
constexpr int kDlCpu = 1, kDlCuda = 2, kDlCudaHost = 3;

std::optional<Dtype> dtype_of_tensor(const StrobeTensor& tensor) {
  if (tensor.dtype_lanes != 1) return std::nullopt;
  switch (tensor.dtype_code << 8 | tensor.dtype_bits) {
    case kDlFloat << 8 | 32:
      return Dtype::kF32;
    case kDlFloat << 8 | 16:
      return Dtype::kF16;
    case kDlBfloat << 8 | 16:
      return Dtype::kBf16;
    case kDlE4m3 << 8 | 8:
      return Dtype::kE4m3;
    case kDlE5m2 << 8 | 8:
      return Dtype::kE5m2;
    case kDlInt << 8 | 8:
      return Dtype::kI8;
    case kDlUint << 8 | 8:
      return Dtype::kU8;
    case kDlInt << 8 | 32:
      return Dtype::kI32;
    case kDlInt << 8 | 64:
      return Dtype::kI64;
    case kDlBool << 8 | 8:
      return Dtype::kBool;
    default:
      return std::nullopt;
  }
}

// "f64", "u16", … of a dtype that Strobe does not have.
std::string foreign_dtype(const StrobeTensor& tensor) {
  constexpr std::string_view kNames[] = {"i", "u", "f", "handle", "bf", "complex", "bool"};
  const std::string code = tensor.dtype_code < std::size(kNames)
                               ? std::string(kNames[tensor.dtype_code])
                               : fmt::format("dtype {} of bits ", tensor.dtype_code);
  return fmt::format("{}{}{}", code, tensor.dtype_bits,
                     tensor.dtype_lanes == 1 ? "" : fmt::format("x{}", tensor.dtype_lanes));
}

// Null where it is neither host memory nor a CUDA device.
std::optional<Device> device_of_tensor(const StrobeTensor& tensor) {
  if (tensor.device_type == kDlCpu || tensor.device_type == kDlCudaHost) return Device{};
  if (tensor.device_type != kDlCuda || tensor.device_index < 0 || tensor.device_index > 127)
    return std::nullopt;
  return Device{DeviceType::kCuda, static_cast<std::int8_t>(tensor.device_index)};
}

// Of a tensor that Strobe has none like, `who` says the argument's name and `dtypes` what it may be.
template <class Dtypes, class Who>
void set_view(const StrobeTensor& tensor, TensorView& view, Dtypes dtypes, Who who) {
  const auto reject = [&](const std::string& expectation) {
    throw Error(ErrorKind::kInvalidArgument, fmt::format("{}: {}", who(), expectation));
  };
  if (tensor.rank < 0 || tensor.rank > kMaxRank)
    reject(fmt::format("expected at most {} axes, got {}", kMaxRank, tensor.rank));
  const std::optional<Dtype> dtype = dtype_of_tensor(tensor);
  if (!dtype) reject(fmt::format("expected dtype {}, got {}", dtypes(), foreign_dtype(tensor)));
  const std::optional<Device> device = device_of_tensor(tensor);
  if (!device)
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format("{}: expected a tensor on the CPU or a CUDA device, got one on DLPack device {}:{}",
                    who(), tensor.device_type, tensor.device_index));
  view.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  view.dtype = *dtype;
  view.device = *device;
  view.rank = tensor.rank;
  std::int64_t dense = 1;
  for (auto axis = static_cast<std::size_t>(tensor.rank); axis-- > 0;) {
    view.shape[axis] = tensor.shape[axis];
    view.strides[axis] = tensor.strides != nullptr ? tensor.strides[axis] : dense;
    dense *= tensor.shape[axis];
  }
}

double number_of(const Operator& op, const Attribute& attribute, const StrobeValue& value) {
  const bool whole = value.kind == STROBE_INT || value.kind == STROBE_BOOL;
  switch (attribute.kind) {
    case AttributeKind::kBool:
      if (!whole) reject_type(op, attribute.name, "expected a bool, got {}", kind_name(value));
      return value.as.integer != 0 ? 1 : 0;
    case AttributeKind::kInt:
      if (!whole) reject_type(op, attribute.name, "expected an integer, got {}", kind_name(value));
      return static_cast<double>(value.as.integer);
    case AttributeKind::kFloat:
      if (value.kind == STROBE_FLOAT) return value.as.number;
      if (!whole) reject_type(op, attribute.name, "expected a number, got {}", kind_name(value));
      return static_cast<double>(value.as.integer);
    case AttributeKind::kEnum:
      break;
  }
  if (whole) return static_cast<double>(value.as.integer);
  const std::optional<std::string_view> text = text_of(value);
  if (!text) reject_type(op, attribute.name, "expected a string, got {}", kind_name(value));
  const auto choice = std::find(attribute.choices.begin(), attribute.choices.end(), *text);
  if (choice == attribute.choices.end())
    reject(op, attribute.name, "expected one of {}, got '{}'", fmt::join(attribute.choices, ", "), *text);
  return static_cast<double>(choice - attribute.choices.begin());
}

}  // namespace

const StrobeTensor* tensor_of(const StrobeValue& value) {
  if (value.kind == STROBE_TENSOR) return value.as.tensor;
  if (value.kind != tvm::kTensor) return nullptr;
  const auto* header = reinterpret_cast<const tvm::ObjectHeader*>(value.as.tensor);
  return reinterpret_cast<const StrobeTensor*>(header + 1);
}

std::optional<std::string_view> text_of(const StrobeValue& value) {
  switch (value.kind) {
    case STROBE_STRING:
      return value.as.string;
    case tvm::kSmallStr:
      return std::string_view(reinterpret_cast<const char*>(&value.as), value.reserved);
    case tvm::kStr: {
      const auto* header = reinterpret_cast<const tvm::ObjectHeader*>(value.as.string);
      const auto* bytes = reinterpret_cast<const tvm::ByteArray*>(header + 1);
      return std::string_view(bytes->data, bytes->size);
    }
    default:
      return std::nullopt;
  }
}

std::string_view kind_name(const StrobeValue& value) {
  if (tensor_of(value) != nullptr) return "a tensor";
  if (text_of(value)) return "a string";
  switch (value.kind) {
    case STROBE_NONE:
      return "nothing";
    case STROBE_INT:
      return "an integer";
    case STROBE_BOOL:
      return "a bool";
    case STROBE_FLOAT:
      return "a float";
    default:
      return "something else";
  }
}

void set_operand(const Operator& op, const Operand& operand, const StrobeValue& value, void* args) {
  if (value.kind == STROBE_NONE) return;
  const StrobeTensor* tensor = tensor_of(value);
  if (tensor == nullptr) reject_type(op, operand.name, "expected a tensor, got {}", kind_name(value));
  set_view(
      *tensor, operand.view(args), [&] { return to_string(operand.dtypes); },
      [&] { return fmt::format("{}: {}", op.name, operand.name); });
}

TensorView view_of(const StrobeTensor& tensor, std::string_view who) {
  TensorView view;
  set_view(
      tensor, view, [] { return fmt::format("{}", fmt::join(op::dtype_names(), ", ")); },
      [&] { return who; });
  return view;
}

void set_attribute(const Operator& op, const Attribute& attribute, const StrobeValue& value, void* args) {
  if (value.kind == STROBE_NONE) return;
  const double number = number_of(op, attribute, value);
  op::check_attribute(op, attribute, number);  // before it is cut to the attribute's own type
  attribute.set(args, number);
}

}  // namespace strobe::ffi
