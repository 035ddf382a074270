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

// The leading axes (all but the innermost) that operands have in common, merged where every operand strides
// evenly through two of them.
template <int kOperands>
struct LeadingAxes {
  struct Axis {
    std::int64_t extent = 1;
    std::array<std::int64_t, kOperands> stride{};  // elements
  };
  std::array<Axis, kMaxRank> axes{};
  int count = 0;

  template <class... Views>
  explicit LeadingAxes(const Views&... views) {
    const TensorView* operands[] = {&views...};
    for (int axis = 0; axis < operands[0]->rank - 1; ++axis) add(operands, static_cast<std::size_t>(axis));
  }

 private:
  // Appends an axis, or merges it into the one before.
  void add(const TensorView* const* operands, std::size_t axis) {
    Axis next{.extent = operands[0]->shape[axis]};
    Axis* last = count > 0 ? &axes[static_cast<std::size_t>(count - 1)] : nullptr;
    bool even = last != nullptr;
    for (std::size_t i = 0; i < kOperands; ++i) {
      next.stride[i] = operands[i]->strides[axis];
      even = even && last->stride[i] == next.extent * next.stride[i];
    }
    if (next.extent == 1) return;
    if (even) {
      next.extent *= last->extent;
      *last = next;
    } else {
      axes[static_cast<std::size_t>(count++)] = next;
    }
  }
};

// The operands have the same leading axes (all but the innermost). One block: the usual case of a matrix, or
// of leading axes that merge into one because every operand strides through them evenly. More: a slice of a
// fused tensor, say, with one block a token whose rows are its heads.
template <int kOperands>
class RowBlocks {
 public:
  template <class... Views>
  explicit RowBlocks(const Views&... views)
      : data_{static_cast<char*>(views.data)...},
        bytes_{static_cast<std::int64_t>(size_of(views.dtype))...},
        leading_(views...) {}

  // Rows of one block, and of all.
  std::int64_t rows() const { return leading_.axes[row_axis()].extent; }
  std::int64_t all_rows() const { return blocks() * rows(); }
  // Elements between the rows of an operand.
  std::int64_t stride(int operand) const {
    return leading_.axes[row_axis()].stride[static_cast<std::size_t>(operand)];
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
  std::size_t row_axis() const {
    return static_cast<std::size_t>(leading_.count > 0 ? leading_.count - 1 : 0);
  }
  std::int64_t blocks() const {
    std::int64_t blocks = 1;
    for (std::size_t axis = 0; axis < row_axis(); ++axis) blocks *= leading_.axes[axis].extent;
    return blocks;
  }
  void* block_data(std::size_t operand, std::int64_t block) const {
    std::int64_t offset = 0;
    for (std::size_t axis = row_axis(); axis-- > 0;) {
      offset += block % leading_.axes[axis].extent * leading_.axes[axis].stride[operand];
      block /= leading_.axes[axis].extent;
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
  LeadingAxes<kOperands> leading_;
};
template <class... Views>
RowBlocks(const Views&...) -> RowBlocks<static_cast<int>(sizeof...(Views))>;

}  // namespace strobe::op
