// Descriptors of tensors in device memory for the tensor memory accelerator (TMA), which kernels take as
// `const __grid_constant__` parameters.
#pragma once

#include <array>
#include <cstdint>

#include "cuda/driver_api.h"

namespace strobe::cuda {

inline constexpr int kMaxTensorMapRank = 5;

// A tiled view, innermost axis first. The rules of the hardware: the address is a multiple of 16 bytes;
// strides are multiples of 16 bytes below 2^40; box sizes are 1 to 256, and the innermost box axis is a
// multiple of 16 bytes and no longer than the swizzle span.
struct TensorMapRequest {
  const void* address = nullptr;
  TensorMapType type = TensorMapType::kBf16;
  int rank = 0;
  std::array<std::uint64_t, kMaxTensorMapRank> sizes{};              // elements
  std::array<std::uint64_t, kMaxTensorMapRank - 1> strides_bytes{};  // of axes 1, 2, …; axis 0 is contiguous
  std::array<std::uint32_t, kMaxTensorMapRank> box{};                // elements of one copy
  TensorMapSwizzle swizzle = TensorMapSwizzle::kNone;
  TensorMapL2Promotion promotion = TensorMapL2Promotion::k256Bytes;
  int device = 0;  // ordinal of the GPU whose memory it is

  friend bool operator==(const TensorMapRequest&, const TensorMapRequest&) = default;
};

// The descriptor; elements outside the tensor read as zero. A thread remembers its latest ones, so that a
// call with the tensors of the call before does not ask the driver again. Throws Error(kInvalidArgument) that
// names the rule broken, Error(kDriver).
TensorMap tensor_map(const TensorMapRequest& request);

}  // namespace strobe::cuda
