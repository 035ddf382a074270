// What the host sides of the CUDA kernels share: how wide their accesses may be, rows of any leading axes,
// and the launch.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>

#include "core/message.h"
#include "cuda/device.h"
#include "jit/kernels.h"
#include "ops/row_views.h"
#include "tile/divisor.h"
#include "tile/rows.h"

namespace strobe::op {

// "strobe::kernel::Dtype::kBf16": a Dtype constant of a kernel.
std::string print_dtype(int value);
// "true" or "false".
std::string print_bool(int value);

inline constexpr char kDtypeType[] = "strobe::kernel::Dtype";
inline constexpr int kBools[] = {0, 1};
inline constexpr int kFloatDtypes[] = {static_cast<int>(Dtype::kF32), static_cast<int>(Dtype::kF16),
                                       static_cast<int>(Dtype::kBf16)};

// Elements that a kernel moves with one access: the largest power of two up to `most` for which every extent
// consists of whole vectors and every address is a multiple of the access (16 bytes at most).
class VectorWidth {
 public:
  explicit VectorWidth(std::int64_t most) : most_(most), elements_(most) {}
  VectorWidth& extent(std::int64_t elements) {
    while (elements_ > 1 && !is_multiple(elements, elements_)) elements_ /= 2;
    return *this;
  }
  VectorWidth& address(const void* data, Dtype dtype) {
    return bytes(static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data)), dtype);
  }
  // All rows of a view, whose innermost axis is contiguous.
  VectorWidth& rows(const TensorView& view) {
    address(view.data, view.dtype);
    for (int axis = 0; axis < view.rank - 1; ++axis)
      if (view.shape[static_cast<std::size_t>(axis)] > 1)
        bytes(view.strides[static_cast<std::size_t>(axis)] * static_cast<std::int64_t>(size_of(view.dtype)),
              view.dtype);
    return *this;
  }
  int elements() const { return static_cast<int>(elements_); }
  // For kernels that have no widths between.
  int all_or_one() const { return elements_ == most_ ? static_cast<int>(most_) : 1; }

 private:
  VectorWidth& bytes(std::int64_t distance, Dtype dtype) {
    const auto access = [&] {
      return std::min<std::int64_t>(16, elements_ * static_cast<std::int64_t>(size_of(dtype)));
    };
    while (elements_ > 1 && !is_multiple(distance, access())) elements_ /= 2;
    return *this;
  }
  // Of a power of two, without a division: a launch asks this a dozen times.
  static constexpr bool is_multiple(std::int64_t value, std::int64_t power) {
    return (value & (power - 1)) == 0;
  }
  std::int64_t most_, elements_;
};

// Elements of the widest vector of that dtype.
constexpr std::int64_t widest_vector(Dtype dtype) { return 16 / static_cast<std::int64_t>(size_of(dtype)); }

// The multiplication that replaces division by `value` (1 … 2^31 - 1) of numbers below 2^31.
kernel::Divisor divisor(std::int64_t value);

// Rows whose leading axes are at most two deep in every operand; deeper ones come one plane after the other.
template <int kOperands>
struct RowPlane {
  std::uint32_t rows = 0;
  kernel::Divisor inner_rows{};
  std::array<kernel::Rows, kOperands> operands{};
};

inline constexpr std::int64_t kMaxRows = std::numeric_limits<std::int32_t>::max();

// Calls f(plane) for the planes of the operands' rows; views of which there is nothing are skipped.
template <class F, class... Views>
void for_each_plane(std::string_view op_name, F f, const Views&... views) {
  constexpr int kOperands = sizeof...(Views);
  const LeadingAxes<kOperands> leading(views...);
  const TensorView* operands[] = {&views...};
  const int outer_axis = leading.count - 2, inner_axis = leading.count - 1;
  const auto axis_at = [&](int axis) {
    return axis < 0 ? typename LeadingAxes<kOperands>::Axis{} : leading.axes[static_cast<std::size_t>(axis)];
  };
  const auto outer = axis_at(outer_axis), inner = axis_at(inner_axis);
  std::int64_t planes = 1;
  for (int axis = 0; axis < outer_axis; ++axis) planes *= axis_at(axis).extent;
  if (planes * outer.extent * inner.extent == 0) return;
  if (outer.extent > kMaxRows / inner.extent)
    fail(ErrorKind::kUnsupported, "{}: {} rows on a GPU, at most {} are possible", op_name,
         outer.extent * inner.extent, kMaxRows);
  for (std::int64_t number = 0; number < planes; ++number) {
    RowPlane<kOperands> plane{.rows = static_cast<std::uint32_t>(outer.extent * inner.extent),
                              .inner_rows = divisor(inner.extent)};
    for (std::size_t i = 0; i < kOperands; ++i) {
      const auto bytes = static_cast<std::int64_t>(size_of(operands[i]->dtype));
      std::int64_t offset = 0, rest = number;
      for (int axis = outer_axis - 1; axis >= 0; --axis) {
        offset += rest % axis_at(axis).extent * axis_at(axis).stride[i];
        rest /= axis_at(axis).extent;
      }
      plane.operands[i] = {static_cast<char*>(operands[i]->data) + offset * bytes,
                           {outer.stride[i] * bytes, inner.stride[i] * bytes}};
    }
    f(plane);
  }
}

// The GPU of a call.
struct Gpu {
  Device device;
  cuda::Architecture architecture;
  int sm_count;
};
Gpu gpu_of(Device device);

// Whether the GPU has room for all blocks at a time, whatever else they take.
constexpr bool runs_at_once(std::int64_t blocks, int threads, const Gpu& gpu) {
  constexpr int kSmThreads = 1024;
  return blocks * threads <= std::int64_t{gpu.sm_count} * kSmThreads;
}

// Gets the kernel (a lookup after the first time) and enqueues `blocks` of it, beginning beside the end of
// the kernel before it where the GPU can.
template <class Params>
void launch_kernel(const jit::KernelSource& source, std::initializer_list<int> values, const Gpu& gpu,
                   std::int64_t blocks, const Params& params, const Launch& launch) {
  const cuda::Kernel& kernel =
      jit::get(source, jit::Values(values.begin(), values.size()), gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = {.x = static_cast<std::uint32_t>(blocks)},
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               params);
}

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace strobe::op
