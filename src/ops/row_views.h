// Row-wise operators take any number of leading axes with any strides; their kernels take rows at one distance. RowBlocks walks the
// leading axes so that each block's rows lie at constant strides in every operand.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "strobe/tensor.h"

namespace strobe::op {

// The operands have the same leading axes (all but the innermost). One block: the usual case of a matrix, or of leading axes that collapse
// into one because every operand strides through them evenly.
template <int kOperands>
class RowBlocks {
 public:
  template <class... Views>
  explicit RowBlocks(const Views&... views) : views_{&views...} {
    const TensorView& first = *views_[0];
    inner_axis_ = first.rank - 2;
    rows_ = inner_axis_ >= 0 ? first.shape[static_cast<std::size_t>(inner_axis_)] : 1;
    while (inner_axis_ > 0 && collapses(inner_axis_)) rows_ *= first.shape[static_cast<std::size_t>(--inner_axis_)];
    for (int i = 0; i < kOperands; ++i)
      strides_[static_cast<std::size_t>(i)] = first.rank >= 2 ? views_[static_cast<std::size_t>(i)]->strides[static_cast<std::size_t>(first.rank - 2)] : 0;
  }

  std::int64_t rows() const { return rows_; }
  // Elements between the rows of an operand.
  std::int64_t stride(int operand) const { return strides_[static_cast<std::size_t>(operand)]; }

  // Calls f(data of operand 0, data of operand 1, …) for each block.
  template <class F>
  void for_each(F f) const {
    std::array<std::int64_t, kMaxRank> index{};
    const TensorView& first = *views_[0];
    if (first.size() == 0) return;
    for (;;) {
      call(f, index, std::make_integer_sequence<int, kOperands>{});
      int axis = inner_axis_ - 1;
      while (axis >= 0 && ++index[static_cast<std::size_t>(axis)] == first.shape[static_cast<std::size_t>(axis)])
        index[static_cast<std::size_t>(axis--)] = 0;
      if (axis < 0) return;
    }
  }

 private:
  bool collapses(int axis) const {
    for (const TensorView* view : views_)
      if (view->strides[static_cast<std::size_t>(axis - 1)] !=
          view->strides[static_cast<std::size_t>(axis)] * view->shape[static_cast<std::size_t>(axis)])
        return false;
    return true;
  }
  void* data(int operand, const std::array<std::int64_t, kMaxRank>& index) const {
    const TensorView& view = *views_[static_cast<std::size_t>(operand)];
    std::int64_t offset = 0;
    for (int axis = 0; axis < inner_axis_; ++axis) offset += index[static_cast<std::size_t>(axis)] * view.strides[static_cast<std::size_t>(axis)];
    return static_cast<char*>(view.data) + offset * static_cast<std::int64_t>(size_of(view.dtype));
  }
  template <class F, int... kOperand>
  void call(F& f, const std::array<std::int64_t, kMaxRank>& index, std::integer_sequence<int, kOperand...>) const {
    f(data(kOperand, index)...);
  }

  std::array<const TensorView*, kOperands> views_;
  std::array<std::int64_t, kOperands> strides_{};
  std::int64_t rows_ = 1;
  int inner_axis_ = 0;
};
template <class... Views>
RowBlocks(const Views&...) -> RowBlocks<static_cast<int>(sizeof...(Views))>;

}  // namespace strobe::op
