// A non-owning tensor view, and an owning tensor for tests, examples and the benchmark.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "strobe/device.h"
#include "strobe/dtype.h"
#include "strobe/error.h"
#include "strobe/export.h"

namespace strobe::inline v1 {

inline constexpr int kMaxRank = 6;

// A strided window on memory that somebody else owns. Operators take it by reference and keep no copy beyond
// the call (a plan says which arrays it keeps). A default-constructed view means "not given". Views of inputs
// are never written through.
struct STROBE_API TensorView {
  void* data = nullptr;
  Dtype dtype = Dtype::kF32;
  Device device;
  std::int32_t rank = -1;                        // -1: not given; 0: a scalar
  std::array<std::int64_t, kMaxRank> shape{};    // elements
  std::array<std::int64_t, kMaxRank> strides{};  // elements, may be anything that stays inside the memory

  TensorView() = default;
  // A dense row-major view.
  TensorView(void* data, Dtype dtype, std::span<const std::int64_t> shape, Device device = {});
  TensorView(void* data, Dtype dtype, std::initializer_list<std::int64_t> shape, Device device = {})
      : TensorView(data, dtype, std::span(shape.begin(), shape.size()), device) {}
  TensorView(void* data, Dtype dtype, std::span<const std::int64_t> shape,
             std::span<const std::int64_t> strides, Device device = {});

  // A dense one-dimensional view of a contiguous container, for index arrays: TensorView::of(indptr).
  template <class Container>
  static TensorView of(Container& container) {
    using Element = std::remove_cv_t<std::remove_reference_t<decltype(*std::data(container))>>;
    return TensorView(const_cast<Element*>(std::data(container)), dtype_of<Element>,
                      {static_cast<std::int64_t>(std::size(container))});
  }

  bool given() const { return rank >= 0; }
  std::int64_t size() const {  // elements
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  std::int64_t bytes() const { return size() * static_cast<std::int64_t>(size_of(dtype)); }
  bool is_dense() const;  // row-major without gaps

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  // The element at an index, for tests and references; no bounds check.
  template <class T, class... Index>
  T& at(Index... index) const {
    std::int64_t offset = 0;
    int axis = 0;
    ((offset += static_cast<std::int64_t>(index) * strides[axis++]), ...);
    return static_cast<T*>(data)[offset];
  }

  // Elements [begin, end) of an axis.
  TensorView slice(int axis, std::int64_t begin, std::int64_t end) const;
  // One index of an axis; the axis disappears.
  TensorView select(int axis, std::int64_t index) const;
  // Axes in another order.
  TensorView permute(std::initializer_list<int> order) const;
  // Other extents for the same elements; needs a dense view and the same size.
  TensorView reshape(std::initializer_list<std::int64_t> shape) const;
};

// "bf16[4, 32, 128]" and, when the view is not dense, " strides [8192, 256, 1]".
STROBE_API std::string describe(const TensorView& view);

// Memory of its own on the CPU: aligned to 64 bytes (to huge pages when large), uninitialised. Move-only;
// converts to a view.
class STROBE_API Tensor {
 public:
  Tensor() = default;
  Tensor(Dtype dtype, std::span<const std::int64_t> shape);
  Tensor(Dtype dtype, std::initializer_list<std::int64_t> shape)
      : Tensor(dtype, std::span(shape.begin(), shape.size())) {}

  const TensorView& view() const { return view_; }
  operator const TensorView&() const { return view_; }  // NOLINT: a tensor is usable wherever a view is
  template <class T>
  T* as() const {
    return view_.as<T>();
  }

  // A deep copy.
  Tensor clone() const;

 private:
  struct Free {
    void operator()(void* p) const;
  };
  std::unique_ptr<void, Free> memory_;
  TensorView view_;
};

}  // namespace strobe::inline v1
