// Minimum, maximum, sum and the number of NaN and Inf of a strided tensor of any dtype: what the call log
// says of it. Blocks go through the elements in turn; the host adds up what each has found.
//
// It serves debugging, so one kernel reads every dtype, all arithmetic is f64 and an element is one access.
#include "ptx/convert.h"
#include "ptx/dependency.h"
#include "ptx/memory.h"
#include "statistics/statistics_params.h"

namespace strobe::kernel {

template <int kBytes>
STROBE_DEVICE uint32_t bits_at(const char* address) {
  return load<kBytes>(address).word[0];
}

STROBE_DEVICE float f16_value(uint32_t bits) {
  float value, nothing;
  floats_of<Dtype::kF16>(bits, value, nothing);
  return value;
}

// Below its sign, e4m3 is an f16 without the mantissa's last seven bits and with a bias that is 8 less; its
// one NaN has all bits set.
STROBE_DEVICE float e4m3_value(uint32_t bits) {
  if ((bits & 0x7f) == 0x7f) return float_of(0x7fc00000);
  return f16_value((bits & 0x80) << 8 | (bits & 0x7f) << 7) * 256.0f;
}

STROBE_DEVICE double value_at(const char* address, Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return float_of(bits_at<4>(address));
    case Dtype::kF16:
      return f16_value(bits_at<2>(address));
    case Dtype::kBf16:
      return float_of(bits_at<2>(address) << 16);
    case Dtype::kE4m3:
      return e4m3_value(bits_at<1>(address));
    case Dtype::kE5m2:  // the upper byte of an f16
      return f16_value(bits_at<1>(address) << 8);
    case Dtype::kI8:
      return static_cast<signed char>(bits_at<1>(address));
    case Dtype::kU8:
      return bits_at<1>(address);
    case Dtype::kI32:
      return static_cast<int32_t>(bits_at<4>(address));
    case Dtype::kI64: {
      const auto words = load<8>(address);
      return static_cast<double>(
          static_cast<int64_t>(static_cast<uint64_t>(words.word[1]) << 32 | words.word[0]));
    }
    case Dtype::kBool:
      return bits_at<1>(address) != 0;
  }
  return 0;
}

STROBE_DEVICE const char* address_of(const StatisticsParams& params, int64_t element) {
  int64_t offset = 0;
  for (int axis = params.rank - 1; axis > 0; --axis) {
    const int64_t rest = element / params.shape[axis];
    offset += (element - rest * params.shape[axis]) * params.strides[axis];
    element = rest;
  }
  return params.data + (offset + element * params.strides[0]) * size_of(params.dtype);
}

STROBE_DEVICE void add(StatisticsPart& part, double value) {
  const bool is_nan = value != value, is_finite = value - value == 0;
  part.nan += is_nan ? 1 : 0;
  part.inf += !is_nan && !is_finite ? 1 : 0;
  part.finite += is_finite ? 1 : 0;
  part.sum += is_finite ? value : 0;
  part.low = is_finite && value < part.low ? value : part.low;
  part.high = is_finite && value > part.high ? value : part.high;
}

STROBE_DEVICE void add(StatisticsPart& part, const StatisticsPart& other) {
  part.low = other.low < part.low ? other.low : part.low;
  part.high = other.high > part.high ? other.high : part.high;
  part.sum += other.sum;
  part.finite += other.finite;
  part.nan += other.nan;
  part.inf += other.inf;
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kStatisticsThreads)
    strobe_statistics(const __grid_constant__ strobe::kernel::StatisticsParams params) {
  using namespace strobe::kernel;
  __shared__ StatisticsPart parts[kStatisticsThreads];
  wait_for_kernel_before();
  const double infinity = float_of(0x7f800000);
  StatisticsPart part{infinity, -infinity, 0, 0, 0, 0};
  for (int64_t element = static_cast<int64_t>(blockIdx.x) * kStatisticsThreads + threadIdx.x;
       element < params.elements; element += static_cast<int64_t>(gridDim.x) * kStatisticsThreads)
    add(part, value_at(address_of(params, element), params.dtype));
  parts[threadIdx.x] = part;
  for (int distance = kStatisticsThreads / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (threadIdx.x < distance) add(parts[threadIdx.x], parts[threadIdx.x + distance]);
  }
  if (threadIdx.x == 0) params.parts[blockIdx.x] = parts[0];
}
