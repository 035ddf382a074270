// Rows (innermost axes) of strided views, for references of row-wise operators.
#pragma once

#include "core/read.h"
#include "op/operator.h"

namespace strobe::reference {

// One row as doubles.
struct Row {
  const void* data;
  Dtype dtype;
  std::int64_t offset, size;  // elements
  double operator[](std::int64_t i) const { return read_element(data, dtype, offset + i); }
};

// Rows of one outermost index of a view, numbered in row-major order.
inline std::int64_t rows_per_index(const TensorView& view) {
  std::int64_t rows = 1;
  for (int axis = 1; axis < view.rank - 1; ++axis) rows *= view.shape[static_cast<std::size_t>(axis)];
  return rows;
}

inline Row row_at(const TensorView& view, std::int64_t outermost, std::int64_t row) {
  std::int64_t offset = outermost * view.strides[0];
  for (int axis = view.rank - 2; axis > 0; --axis) {
    const std::int64_t extent = view.shape[static_cast<std::size_t>(axis)];
    offset += row % extent * view.strides[static_cast<std::size_t>(axis)];
    row /= extent;
  }
  return {view.data, view.dtype, offset, view.shape[static_cast<std::size_t>(view.rank - 1)]};
}

// Calls f(outermost index, row, expected values of the row) for every row of the sampled outermost indices of
// an output whose leading axes are those of `view`.
template <class F>
void for_each_row_index(const TensorView& view, op::ExpectedOutput& output, F f) {
  const std::int64_t rows = rows_per_index(view);
  if (output.rows.empty() || rows == 0) return;
  const std::size_t row_size = output.values.size() / output.rows.size() / static_cast<std::size_t>(rows);
  double* out = output.values.data();
  for (std::int64_t outermost : output.rows)
    for (std::int64_t row = 0; row < rows; ++row, out += row_size) f(outermost, row, out);
}

// The same with the row of `view`: f(row, expected values).
template <class F>
void for_each_row(const TensorView& view, op::ExpectedOutput& output, F f) {
  for_each_row_index(view, output, [&](std::int64_t outermost, std::int64_t row, double* out) {
    f(row_at(view, outermost, row), out);
  });
}

}  // namespace strobe::reference
