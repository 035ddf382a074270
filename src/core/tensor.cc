#include "strobe/tensor.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "core/message.h"

namespace strobe::inline v1 {

TensorView::TensorView(void* data, Dtype dtype, std::span<const std::int64_t> shape, Device device)
    : TensorView(data, dtype, shape, shape, device) {
  std::int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= this->shape[i];
  }
}

TensorView::TensorView(void* data, Dtype dtype, std::span<const std::int64_t> shape,
                       std::span<const std::int64_t> strides, Device device)
    : data(data), dtype(dtype), device(device), rank(static_cast<std::int32_t>(shape.size())) {
  if (shape.size() > kMaxRank || strides.size() != shape.size())
    fail(ErrorKind::kInvalidArgument,
         "TensorView: expected at most {} axes and as many strides, got {} axes and {} strides", kMaxRank,
         shape.size(), strides.size());
  for (int i = 0; i < rank; ++i) {
    if (shape[i] < 0)
      fail(ErrorKind::kInvalidArgument, "TensorView: expected extents >= 0, got {} on axis {}", shape[i], i);
    this->shape[i] = shape[i];
    this->strides[i] = strides[i];
  }
}

bool TensorView::is_dense() const {
  std::int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != stride) return false;
    stride *= shape[i];
  }
  return true;
}

namespace {

void check_axis(const TensorView& view, int axis, const char* operation) {
  if (axis < 0 || axis >= view.rank)
    fail(ErrorKind::kInvalidArgument, "TensorView::{}: expected an axis in [0, {}), got {}", operation,
         view.rank, axis);
}

}  // namespace

TensorView TensorView::slice(int axis, std::int64_t begin, std::int64_t end) const {
  check_axis(*this, axis, "slice");
  if (begin < 0 || begin > end || end > shape[axis])
    fail(ErrorKind::kInvalidArgument, "TensorView::slice: expected 0 <= begin <= end <= {}, got [{}, {})",
         shape[axis], begin, end);
  TensorView result = *this;
  result.data = static_cast<char*>(data) + begin * strides[axis] * static_cast<std::int64_t>(size_of(dtype));
  result.shape[axis] = end - begin;
  return result;
}

TensorView TensorView::select(int axis, std::int64_t index) const {
  check_axis(*this, axis, "select");
  if (index < 0 || index >= shape[axis])
    fail(ErrorKind::kInvalidArgument, "TensorView::select: expected an index in [0, {}), got {}", shape[axis],
         index);
  TensorView result = slice(axis, index, index + 1);
  --result.rank;
  for (int i = axis; i < result.rank; ++i) {
    result.shape[i] = shape[i + 1];
    result.strides[i] = strides[i + 1];
  }
  return result;
}

TensorView TensorView::permute(std::initializer_list<int> order) const {
  if (static_cast<int>(order.size()) != rank)
    fail(ErrorKind::kInvalidArgument, "TensorView::permute: expected {} axes, got {}", rank, order.size());
  TensorView result = *this;
  unsigned seen = 0;
  int i = 0;
  for (int axis : order) {
    check_axis(*this, axis, "permute");
    if (seen & (1u << axis))
      fail(ErrorKind::kInvalidArgument, "TensorView::permute: axis {} is named twice", axis);
    seen |= 1u << axis;
    result.shape[i] = shape[axis];
    result.strides[i++] = strides[axis];
  }
  return result;
}

TensorView TensorView::reshape(std::initializer_list<std::int64_t> new_shape) const {
  TensorView result(data, dtype, new_shape, device);
  if (!is_dense() || result.size() != size())
    fail(ErrorKind::kInvalidArgument, "TensorView::reshape: expected a dense view of {} elements, got {}",
         result.size(), describe(*this));
  return result;
}

std::string describe(const TensorView& view) {
  if (!view.given()) return "not given";
  const auto list = [&](const auto& values) {
    return fmt::format("{}", fmt::join(values.begin(), values.begin() + view.rank, ", "));
  };
  std::string text = fmt::format("{}[{}]", name(view.dtype), list(view.shape));
  if (!view.is_dense()) text += fmt::format(" strides [{}]", list(view.strides));
  if (view.device != Device{}) text += " on " + to_string(view.device);
  return text;
}

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

Tensor::Tensor(Dtype dtype, std::span<const std::int64_t> shape) : view_(nullptr, dtype, shape) {
  const auto bytes = static_cast<std::size_t>(view_.bytes());
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  void* memory = std::aligned_alloc(
      alignment, std::max((bytes + alignment - 1) / alignment, std::size_t{1}) * alignment);
  if (memory == nullptr)
    fail(ErrorKind::kOutOfMemory, "Tensor {}: {} bytes are not to be had", describe(view_), bytes);
  if (alignment == kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
  memory_.reset(memory);
  view_.data = memory;
}

Tensor Tensor::clone() const {
  Tensor copy(view_.dtype, std::span(view_.shape.data(), static_cast<std::size_t>(view_.rank)));
  std::memcpy(copy.view_.data, view_.data, static_cast<std::size_t>(view_.bytes()));
  return copy;
}

void Tensor::Free::operator()(void* p) const { std::free(p); }

}  // namespace strobe::inline v1
