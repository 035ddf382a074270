// The form of the kernels of kernels/attention/with_hooks.cuh.
#pragma once

#include <algorithm>

namespace strobe::op {

inline constexpr int kF32Threads = 128, kF32Rows = 16, kF32Tokens = 32, kMostHeadDim = 512;

constexpr int f32_shared_bytes(int head_dim_qk, int head_dim_vo) {
  const int stride = std::max(head_dim_qk, head_dim_vo) | 1;
  return (kF32Rows * head_dim_qk + kF32Rows * kF32Tokens + kF32Tokens * stride) *
         static_cast<int>(sizeof(float));
}

}  // namespace strobe::op
