#include "core/strided_copy.h"

#include <cstring>

namespace strobe::inline v1 {
namespace {

void copy_axis(const TensorView& from, const TensorView& to, int axis, std::int64_t from_offset,
               std::int64_t to_offset) {
  const auto i = static_cast<std::size_t>(axis);
  const auto element = static_cast<std::int64_t>(size_of(from.dtype));
  const auto address = [&](const TensorView& view, std::int64_t offset) {
    return static_cast<char*>(view.data) + offset * element;
  };
  const bool last = axis + 1 >= from.rank;
  if (from.rank == 0 || (last && from.strides[i] == 1 && to.strides[i] == 1)) {
    const std::int64_t count = from.rank == 0 ? 1 : from.shape[i];
    std::memcpy(address(to, to_offset), address(from, from_offset),
                static_cast<std::size_t>(count * element));
    return;
  }
  for (std::int64_t index = 0; index < from.shape[i]; ++index) {
    const std::int64_t source = from_offset + index * from.strides[i];
    const std::int64_t target = to_offset + index * to.strides[i];
    if (last)
      std::memcpy(address(to, target), address(from, source), static_cast<std::size_t>(element));
    else
      copy_axis(from, to, axis + 1, source, target);
  }
}

}  // namespace

void strided_copy(const TensorView& from, const TensorView& to) {
  if (from.size() > 0) copy_axis(from, to, 0, 0, 0);
}

Span span_of(const TensorView& view) {
  if (!view.given() || view.size() == 0) return {};
  Span span{0, 0};
  for (int axis = 0; axis < view.rank; ++axis) {
    const auto i = static_cast<std::size_t>(axis);
    const std::int64_t reach = (view.shape[i] - 1) * view.strides[i];
    (reach < 0 ? span.low : span.high) += reach;
  }
  return span;
}

}  // namespace strobe::inline v1
