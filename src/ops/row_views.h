// Row-wise operators take any number of leading axes with any strides; their kernels take rows at one
// distance. RowBlocks walks the leading axes so that each block's rows lie at constant strides in every
// operand.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "cpu/parallel.h"
#include "strobe/tensor.h"

namespace strobe::op {

// The operands have the same leading axes (all but the innermost). One block: the usual case of a matrix, or
// of leading axes that merge into one because every operand strides through them evenly. More: a slice of a
// fused tensor, say, with one block a token whose rows are its heads.
template <int kOperands>
class RowBlocks {
 public:
  template <class... Views>
  explicit RowBlocks(const Views&... views)
      : data_{static_cast<char*>(views.data)...}, bytes_{static_cast<std::int64_t>(size_of(views.dtype))...} {
    const TensorView* operands[] = {&views...};
    for (int axis = 0; axis < operands[0]->rank - 1; ++axis)
      add_axis(operands, static_cast<std::size_t>(axis));
  }

  // Rows of one block, and of all.
  std::int64_t rows() const { return axes_[row_axis()].extent; }
  std::int64_t all_rows() const { return blocks() * rows(); }
  // Elements between the rows of an operand.
  std::int64_t stride(int operand) const {
    return axes_[row_axis()].stride[static_cast<std::size_t>(operand)];
  }

  // Calls f(first row, end row, block's data of operand 0, of operand 1, …) for the blocks that hold the rows
  // [begin, end) of all; the rows that f gets are counted within its block.
  template <class F>
  void for_each(std::int64_t begin, std::int64_t end, F f) const {
    for (std::int64_t row = begin; row < end;) {
      const std::int64_t block = row / rows(), first = row % rows();
      const std::int64_t stop = end - row < rows() - first ? first + (end - row) : rows();
      call(f, first, stop, block, std::make_index_sequence<kOperands>{});
      row += stop - first;
    }
  }

  // The same for all rows, shared out over the workers; `bytes_each` is the memory traffic of one row.
  template <class F>
  void parallel(std::int64_t bytes_each, F f) const {
    cpu::parallel_ranges(all_rows(), bytes_each,
                         [&](std::int64_t begin, std::int64_t end) { for_each(begin, end, f); });
  }

 private:
  struct Axis {
    std::int64_t extent = 1;
    std::array<std::int64_t, kOperands> stride{};  // elements
  };

  // Appends a leading axis, or merges it into the one before.
  void add_axis(const TensorView* const* operands, std::size_t axis) {
    Axis next{.extent = operands[0]->shape[axis]};
    bool even = count_ > 0;
    for (std::size_t i = 0; i < kOperands; ++i) {
      next.stride[i] = operands[i]->strides[axis];
      even = even && axes_[row_axis()].stride[i] == next.extent * next.stride[i];
    }
    if (next.extent == 1) return;
    if (even) {
      next.extent *= axes_[row_axis()].extent;
      --count_;
    }
    axes_[static_cast<std::size_t>(count_++)] = next;
  }

  std::size_t row_axis() const { return static_cast<std::size_t>(count_ > 0 ? count_ - 1 : 0); }
  std::int64_t blocks() const {
    std::int64_t blocks = 1;
    for (std::size_t axis = 0; axis < row_axis(); ++axis) blocks *= axes_[axis].extent;
    return blocks;
  }
  void* block_data(std::size_t operand, std::int64_t block) const {
    std::int64_t offset = 0;
    for (std::size_t axis = row_axis(); axis-- > 0;) {
      offset += block % axes_[axis].extent * axes_[axis].stride[operand];
      block /= axes_[axis].extent;
    }
    return data_[operand] + offset * bytes_[operand];
  }
  template <class F, std::size_t... kOperand>
  void call(F& f, std::int64_t first, std::int64_t stop, std::int64_t block,
            std::index_sequence<kOperand...>) const {
    f(first, stop, block_data(kOperand, block)...);
  }

  std::array<char*, kOperands> data_;
  std::array<std::int64_t, kOperands> bytes_;
  std::array<Axis, kMaxRank> axes_{};
  int count_ = 0;
};
template <class... Views>
RowBlocks(const Views&...) -> RowBlocks<static_cast<int>(sizeof...(Views))>;

}  // namespace strobe::op
