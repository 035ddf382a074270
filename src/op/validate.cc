#include "op/validate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

namespace strobe::op {
namespace {

std::string expected_shape(const Operator& op, const AxisList& list, const Axes& axes) {
  std::string text;
  for (std::size_t i = 0; i < list.terms.size(); ++i) {
    const AxisTerm& term = list.terms[i];
    if (!text.empty()) text += ", ";
    if (i == 0 && list.any_leading) {
      text += op.axes[static_cast<std::size_t>(term.axis)].name + "...";
      if (axes.leading != nullptr)
        for (int axis = 0; axis < axes.leading_rank; ++axis)
          text += fmt::format("{}{}", axis == 0 ? " = " : " x ",
                              axes.leading->shape[static_cast<std::size_t>(axis)]);
      continue;
    }
    if (term.axis < 0) {
      text += std::to_string(term.offset);
      continue;
    }
    const std::string& name = op.axes[static_cast<std::size_t>(term.axis)].name;
    if (term.scale != 1) text += fmt::format("{}*", term.scale);
    text += name;
    if (term.offset != 0) text += fmt::format("{:+}", term.offset);
    if (axes[term.axis] >= 0) text += fmt::format(" = {}", term.scale * axes[term.axis] + term.offset);
  }
  return "[" + text + "]";
}

const AxisList& shape_of(const Operator& op, const Operand& operand, const void* args) {
  return op.is_hnd != nullptr && !operand.axes_hnd.terms.empty() && op.is_hnd(args) ? operand.axes_hnd
                                                                                    : operand.axes;
}

[[noreturn]] void reject_shape(const Operator& op, const Operand& operand, const AxisList& list,
                               const TensorView& view, const Axes& axes) {
  reject(op, operand.name, "expected shape {}, got {}", expected_shape(op, list, axes), describe(view));
}

bool bind_leading(const TensorView& view, int leading, const AxisTerm& term, Axes& axes) {
  if (axes.leading != nullptr) {
    if (axes.leading_rank != leading) return false;
    return std::equal(view.shape.begin(), view.shape.begin() + leading, axes.leading->shape.begin());
  }
  std::int64_t product = 1;
  for (int i = 0; i < leading; ++i) product *= view.shape[static_cast<std::size_t>(i)];
  axes.leading = &view;
  axes.leading_rank = leading;
  axes.size[static_cast<std::size_t>(term.axis)] = product;
  return true;
}

// Binds one extent, or compares it with what is bound.
bool bind(const AxisTerm& term, std::int64_t extent, Axes& axes) {
  if (term.axis < 0) return extent == term.offset;
  std::int64_t& size = axes.size[static_cast<std::size_t>(term.axis)];
  if (size >= 0) return extent == term.scale * size + term.offset;
  const std::int64_t scaled = extent - term.offset;
  if (scaled < 0 || scaled % term.scale != 0) return false;
  size = scaled / term.scale;
  return true;
}

void check_shape(const Operator& op, const Operand& operand, const void* args, const TensorView& view,
                 Axes& axes) {
  const AxisList& list = shape_of(op, operand, args);
  const int terms = static_cast<int>(list.terms.size());
  const int leading = list.any_leading ? view.rank - (terms - 1) : 0;
  if (list.any_leading ? leading < 1 : view.rank != terms)
    reject(op, operand.name, "expected {}{} axes {}, got {}", list.any_leading ? "at least " : "", terms,
           expected_shape(op, list, axes), describe(view));
  if (list.any_leading && !bind_leading(view, leading, list.terms[0], axes))
    reject_shape(op, operand, list, view, axes);
  for (int i = list.any_leading ? 1 : 0; i < terms; ++i) {
    const int axis = list.any_leading ? leading + i - 1 : i;
    if (!bind(list.terms[static_cast<std::size_t>(i)], view.shape[static_cast<std::size_t>(axis)], axes))
      reject_shape(op, operand, list, view, axes);
  }
}

void check_dtype(const Operator& op, const Operand& operand, const void* args, const TensorView& view) {
  if (operand.same_dtype_as >= 0) {
    const Operand& other = op.operands[static_cast<std::size_t>(operand.same_dtype_as)];
    const TensorView& pattern = other.of(args);
    if (pattern.given() && view.dtype != pattern.dtype)
      reject(op, operand.name, "expected dtype {} (that of {}), got {}", strobe::name(pattern.dtype),
             other.name, describe(view));
  }
  if (!operand.dtypes.contains(view.dtype))
    reject(op, operand.name, "expected dtype {}, got {}", to_string(operand.dtypes), describe(view));
}

void check_strides(const Operator& op, const Operand& operand, const TensorView& view) {
  if (operand.strides == Strides::kDense) {
    if (!view.is_dense())
      reject(op, operand.name, "expected a dense row-major tensor, got {}", describe(view));
    return;
  }
  const auto last = static_cast<std::size_t>(view.rank - 1);
  if (view.rank > 0 && view.shape[last] > 1 && view.strides[last] != 1)
    reject(op, operand.name, "expected stride 1 on the innermost axis, got {}", describe(view));
}

// Byte range [begin, end) that a view covers.
struct Extent {
  std::uintptr_t begin, end;
};

Extent extent_of(const TensorView& view) {
  std::int64_t low = 0, high = 0;
  for (int i = 0; i < view.rank; ++i) {
    const std::int64_t reach =
        (view.shape[static_cast<std::size_t>(i)] - 1) * view.strides[static_cast<std::size_t>(i)];
    (reach < 0 ? low : high) += reach;
  }
  const auto base = reinterpret_cast<std::uintptr_t>(view.data);
  const auto bytes = static_cast<std::int64_t>(size_of(view.dtype));
  return {base + static_cast<std::uintptr_t>(low * bytes),
          base + static_cast<std::uintptr_t>((high + 1) * bytes)};
}

// Whether two views that interleave on one outer pitch (slices of one fused tensor, such as q and k of a qkv
// projection) keep apart inside it.
bool apart_within_pitch(const TensorView& a, const TensorView& b) {
  if (a.rank < 2 || b.rank < 2) return false;
  const auto bytes = static_cast<std::int64_t>(size_of(a.dtype));
  const std::int64_t pitch = a.strides[0] * bytes;
  if (pitch <= 0 || b.strides[0] * static_cast<std::int64_t>(size_of(b.dtype)) != pitch) return false;
  TensorView row_a = a, row_b = b;
  row_a.shape[0] = row_b.shape[0] = 1;
  const Extent x = extent_of(row_a), y = extent_of(row_b);
  const auto width = static_cast<std::uintptr_t>(pitch);
  const std::uintptr_t gap = (y.begin % width + width - x.begin % width) % width;
  return gap >= x.end - x.begin && gap + (y.end - y.begin) <= width;
}

bool same_view(const TensorView& a, const TensorView& b) {
  if (a.data != b.data || a.rank != b.rank || a.dtype != b.dtype) return false;
  for (int i = 0; i < a.rank; ++i) {
    const auto axis = static_cast<std::size_t>(i);
    if (a.shape[axis] != b.shape[axis] || (a.shape[axis] != 1 && a.strides[axis] != b.strides[axis]))
      return false;
  }
  return true;
}

bool overlap(const TensorView& a, const TensorView& b) {
  const Extent x = extent_of(a), y = extent_of(b);
  return x.begin < y.end && y.begin < x.end && !apart_within_pitch(a, b);
}

// No output may share memory with another operand, unless it is declared to work in place on that very view.
void check_aliasing(const Operator& op, const void* args) {
  for (std::size_t i = 0; i < op.operands.size(); ++i) {
    const Operand& output = op.operands[i];
    const TensorView& written = output.of(args);
    if (!output.written() || !written.given() || written.size() == 0) continue;
    for (std::size_t j = 0; j < op.operands.size(); ++j) {
      const Operand& other = op.operands[j];
      const TensorView& view = other.of(args);
      if (j == i || (other.written() && j < i) || !view.given() || view.size() == 0 ||
          view.device != written.device)
        continue;
      if (!overlap(written, view)) continue;
      const bool allowed = std::find(output.may_alias.begin(), output.may_alias.end(), static_cast<int>(j)) !=
                           output.may_alias.end();
      if (allowed && same_view(written, view)) continue;
      reject(op, output.name, "expected memory {}, got {} that overlaps it",
             allowed ? "apart from " + other.name + " or exactly its view" : "apart from " + other.name,
             describe(written));
    }
  }
}

}  // namespace

void check_attribute(const Operator& op, const Attribute& attribute, double value) {
  if (attribute.kind == AttributeKind::kBool || (value >= attribute.low && value <= attribute.high)) return;
  if (attribute.kind == AttributeKind::kEnum)
    reject(op, attribute.name, "expected one of {}, got enumerator {}", fmt::join(attribute.choices, ", "),
           value);
  reject(op, attribute.name, "expected a value in [{}, {}], got {}", attribute.low, attribute.high, value);
}

void validate(const Operator& op, const void* args, Phase phase, Axes& axes) {
  for (const Attribute& attribute : op.attributes)
    if (attribute.phase == phase) check_attribute(op, attribute, attribute.get(args));
  const Device* device = nullptr;
  const Operand* device_operand = nullptr;
  for (const Operand& operand : op.operands) {
    if (operand.phase != phase) continue;
    const TensorView& view = operand.of(args);
    if (!view.given()) {
      if (operand.optional) continue;
      reject(op, operand.name, "expected {} of dtype {}, got nothing",
             expected_shape(op, shape_of(op, operand, args), axes), to_string(operand.dtypes));
    }
    check_dtype(op, operand, args, view);
    check_shape(op, operand, args, view, axes);
    check_strides(op, operand, view);
    if (view.data == nullptr && view.size() > 0)
      reject(op, operand.name, "expected data, got a null pointer with {}", describe(view));
    // The CPU takes any address; a GPU would stop.
    if (view.device.type != DeviceType::kCpu &&
        reinterpret_cast<std::uintptr_t>(view.data) % size_of(view.dtype) != 0)
      reject(op, operand.name, "expected data at a multiple of its {} bytes an element, got {} at {}",
             size_of(view.dtype), describe(view), view.data);
    if (operand.on_host) {
      if (view.device.type != DeviceType::kCpu)
        reject(op, operand.name, "expected host memory, got {}", describe(view));
      continue;
    }
    if (device != nullptr && *device != view.device)
      reject(op, operand.name, "expected device {} (that of {}), got {}", to_string(*device),
             device_operand->name, describe(view));
    device = &view.device;
    device_operand = &operand;
  }
  if (phase == Phase::kRun) check_aliasing(op, args);
  if (op.check != nullptr) op.check(op, args, axes, phase);
}

}  // namespace strobe::op
