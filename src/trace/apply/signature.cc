#include "trace/apply/signature.h"

#include <algorithm>
#include <utility>

#include "core/message.h"
#include "ffi/values.h"
#include "trace/apply/table.h"

namespace strobe::trace {
namespace {

constexpr int kDlCpu = 1, kDlCuda = 2, kDlCudaHost = 3;
constexpr std::array<std::string_view, kMismatchCount> kMismatches = {
    "none", "number of arguments", "kind", "dtype", "number of axes", "shape", "strides", "device"};

// The schema's dtypes as DLPack's code << 8 | bits, with one lane.
constexpr std::array<std::pair<std::string_view, std::uint16_t>, 15> kDtypes = {{
    {"float32", 2 << 8 | 32},
    {"float16", 2 << 8 | 16},
    {"float64", 2 << 8 | 64},
    {"bfloat16", 4 << 8 | 16},
    {"float8_e4m3fn", 10 << 8 | 8},
    {"float8_e5m2", 12 << 8 | 8},
    {"int64", 0 << 8 | 64},
    {"int32", 0 << 8 | 32},
    {"int16", 0 << 8 | 16},
    {"int8", 0 << 8 | 8},
    {"uint8", 1 << 8 | 8},
    {"uint16", 1 << 8 | 16},
    {"uint32", 1 << 8 | 32},
    {"uint64", 1 << 8 | 64},
    {"bool", 6 << 8 | 8},
}};

std::string dtype_text(const StrobeTensor& tensor) {
  for (const auto& [name, code] : kDtypes)
    if (code == (tensor.dtype_code << 8 | tensor.dtype_bits) && tensor.dtype_lanes == 1)
      return std::string(name);
  return fmt::format("DLPack's dtype {}, {} bits, {} lanes", tensor.dtype_code, tensor.dtype_bits,
                     tensor.dtype_lanes);
}

// Row-major without gaps; an axis of one element may have any stride, and so may all when there are none.
bool is_dense(const StrobeTensor& tensor) noexcept {
  if (tensor.strides == nullptr) return true;
  std::int64_t dense = 1;
  bool fits = true;
  for (std::int32_t axis = tensor.rank; axis-- > 0;) {
    if (tensor.shape[axis] == 0) return true;
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != dense) fits = false;
    dense *= tensor.shape[axis];
  }
  return fits;
}

}  // namespace

std::string_view name(Mismatch mismatch) { return kMismatches[static_cast<std::size_t>(mismatch)]; }

Signature::Signature(const Definition& definition) : inputs_(definition.inputs.size()) {
  axes_ = variable_axes(definition).size();
  if (axes_ > kMaxVariableAxes)
    fail(ErrorKind::kUnsupported, "definition '{}': expected at most {} variable axes, got {}",
         definition.name, kMaxVariableAxes, axes_);
  std::uint32_t bound = 0;
  for (const TensorSpec& input : definition.inputs) {
    specs_.push_back(spec_of(input, definition));
    for (const Extent& extent : specs_.back().shape)
      if (extent.axis >= 0) bound |= 1u << extent.axis;
  }
  if (bound != (1u << axes_) - 1)
    fail(ErrorKind::kUnsupported, "definition '{}': expected every variable axis among the inputs' shapes",
         definition.name);
  for (const TensorSpec& output : definition.outputs) specs_.push_back(spec_of(output, definition));
}

Signature::Spec Signature::spec_of(const TensorSpec& tensor, const Definition& definition) const {
  Spec spec{.name = tensor.name,
            .dtype_name = tensor.dtype,
            .is_scalar = !tensor.shape,
            .is_optional = tensor.optional};
  if (spec.is_scalar) return spec;
  const auto found = std::find_if(kDtypes.begin(), kDtypes.end(),
                                  [&](const auto& known) { return known.first == tensor.dtype; });
  if (found == kDtypes.end())
    fail(ErrorKind::kUnsupported, "definition '{}': {}: no tensor of a call has the dtype '{}'",
         definition.name, tensor.name, tensor.dtype);
  spec.dtype = found->second;
  const std::vector<std::string> variable = variable_axes(definition);
  for (const std::string& axis_name : *tensor.shape) {
    const Axis& axis = *definition.axis(axis_name);
    const auto place = std::find(variable.begin(), variable.end(), axis_name);
    spec.shape.push_back(axis.value ? Extent{-1, *axis.value}
                                    : Extent{static_cast<std::int32_t>(place - variable.begin()), 0});
  }
  return spec;
}

Mismatch Signature::read_tensor(const Spec& spec, const StrobeTensor& tensor, std::uint32_t& bound,
                                CallKey& key) const noexcept {
  if ((tensor.dtype_code << 8 | tensor.dtype_bits) != spec.dtype || tensor.dtype_lanes != 1)
    return Mismatch::kDtype;
  if (static_cast<std::size_t>(tensor.rank) != spec.shape.size()) return Mismatch::kRank;
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    const Extent& extent = spec.shape[i];
    if (extent.axis < 0) {
      if (tensor.shape[i] != extent.constant) return Mismatch::kShape;
      continue;
    }
    std::int64_t& value = key.axes[static_cast<std::size_t>(extent.axis)];
    if ((bound >> extent.axis & 1) == 0) {
      value = tensor.shape[i];
      bound |= 1u << extent.axis;
    } else if (value != tensor.shape[i]) {
      return Mismatch::kShape;
    }
  }
  return Mismatch::kNone;
}

Signature::Reading Signature::read(std::span<const StrobeValue> arguments, CallKey& key,
                                   Strides strides) const noexcept {
  if (arguments.size() != inputs_ && arguments.size() != specs_.size()) return {Mismatch::kCount, 0};
  key = {};
  std::uint32_t bound = 0;
  bool placed = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Spec& spec = specs_[i];
    const StrobeValue& value = arguments[i];
    const int number = static_cast<int>(i);
    const StrobeTensor* tensor = ffi::tensor_of(value);
    if (tensor == nullptr) {
      const bool is_number =
          value.kind == STROBE_INT || value.kind == STROBE_BOOL || value.kind == STROBE_FLOAT;
      if (spec.is_scalar ? is_number : spec.is_optional && value.kind == STROBE_NONE) continue;
      return {Mismatch::kKind, number};
    }
    if (spec.is_scalar) return {Mismatch::kKind, number};
    if (const Mismatch mismatch = read_tensor(spec, *tensor, bound, key); mismatch != Mismatch::kNone)
      return {mismatch, number};
    if (strides == Strides::kDense && !is_dense(*tensor)) return {Mismatch::kStrides, number};
    const bool on_host = tensor->device_type == kDlCpu || tensor->device_type == kDlCudaHost;
    if (!on_host && tensor->device_type != kDlCuda) return {Mismatch::kDevice, number};
    const Device device =
        on_host ? Device{} : Device{DeviceType::kCuda, static_cast<std::int8_t>(tensor->device_index)};
    if (placed && device != key.device) return {Mismatch::kDevice, number};
    key.device = device;
    placed = true;
  }
  return {};
}

std::string Signature::explain(const Reading& reading, std::span<const StrobeValue> arguments) const {
  if (reading.mismatch == Mismatch::kNone) return {};
  if (reading.mismatch == Mismatch::kCount)
    return fmt::format("expected {} inputs, or {} arguments with the outputs, got {}", inputs_, specs_.size(),
                       arguments.size());
  const auto number = static_cast<std::size_t>(reading.argument);
  const Spec& spec = specs_[number];
  const StrobeTensor* tensor = ffi::tensor_of(arguments[number]);
  if (reading.mismatch == Mismatch::kKind)
    return fmt::format("{}: expected {}, got {}", spec.name, spec.is_scalar ? "a number" : "a tensor",
                       ffi::kind_name(arguments[number]));
  const std::span<const std::int64_t> shape(tensor->shape, static_cast<std::size_t>(tensor->rank));
  switch (reading.mismatch) {
    case Mismatch::kDtype:
      return fmt::format("{}: expected {}, got {}", spec.name, spec.dtype_name, dtype_text(*tensor));
    case Mismatch::kRank:
      return fmt::format("{}: expected {} axes, got [{}]", spec.name, spec.shape.size(),
                         fmt::join(shape, ", "));
    case Mismatch::kShape:
      return fmt::format(
          "{}: expected the definition's sizes, and those of the arguments before it, got [{}]", spec.name,
          fmt::join(shape, ", "));
    case Mismatch::kStrides:
      return fmt::format("{}: expected a dense tensor, got one of [{}] with gaps or in another order",
                         spec.name, fmt::join(shape, ", "));
    default:
      return fmt::format(
          "{}: expected all tensors on one device, the CPU or a CUDA device, got DLPack device {}:{}",
          spec.name, tensor->device_type, tensor->device_index);
  }
}

}  // namespace strobe::trace
