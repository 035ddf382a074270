// Elements of CPU views as doubles, whatever their dtype: for references, statistics and comparisons.
#pragma once

#include <cstdint>

#include "strobe/tensor.h"

namespace strobe::inline v1 {

// The element at an offset (in elements) from a view's data.
inline double read_element(const void* data, Dtype dtype, std::int64_t offset) {
  switch (dtype) {
    case Dtype::kF32:
      return static_cast<const float*>(data)[offset];
    case Dtype::kF16:
      return static_cast<double>(static_cast<float>(static_cast<const F16*>(data)[offset]));
    case Dtype::kBf16:
      return static_cast<double>(static_cast<float>(static_cast<const Bf16*>(data)[offset]));
    case Dtype::kE4m3:
      return static_cast<double>(static_cast<float>(static_cast<const E4m3*>(data)[offset]));
    case Dtype::kE5m2:
      return static_cast<double>(static_cast<float>(static_cast<const E5m2*>(data)[offset]));
    case Dtype::kI8:
      return static_cast<const std::int8_t*>(data)[offset];
    case Dtype::kU8:
      return static_cast<const std::uint8_t*>(data)[offset];
    case Dtype::kI32:
      return static_cast<const std::int32_t*>(data)[offset];
    case Dtype::kI64:
      return static_cast<double>(static_cast<const std::int64_t*>(data)[offset]);
    case Dtype::kBool:
      return static_cast<const std::uint8_t*>(data)[offset] != 0;
  }
  return 0;
}

// The element at an index: read(view, row, column).
template <class... Index>
double read(const TensorView& view, Index... index) {
  std::int64_t offset = 0;
  std::size_t axis = 0;
  ((offset += static_cast<std::int64_t>(index) * view.strides[axis++]), ...);
  return read_element(view.data, view.dtype, offset);
}

// Calls f(value) for every element in row-major order.
template <class F>
void for_each_element(const TensorView& view, F f) {
  if (view.size() == 0) return;
  std::array<std::int64_t, kMaxRank> index{};
  for (;;) {
    std::int64_t offset = 0;
    for (int i = 0; i < view.rank; ++i)
      offset += index[static_cast<std::size_t>(i)] * view.strides[static_cast<std::size_t>(i)];
    f(read_element(view.data, view.dtype, offset));
    int axis = view.rank - 1;
    while (axis >= 0 && ++index[static_cast<std::size_t>(axis)] == view.shape[static_cast<std::size_t>(axis)])
      index[static_cast<std::size_t>(axis--)] = 0;
    if (axis < 0) return;
  }
}

}  // namespace strobe::inline v1
