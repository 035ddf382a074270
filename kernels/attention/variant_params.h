// What the kernel of a variant takes.
#pragma once

#include "attention/attention_params.h"

namespace strobe::kernel {

inline constexpr int kMostVariantArguments = 24;

struct VariantParams {
  AttentionParams attention;
  uint64_t arguments[kMostVariantArguments];  // addresses and scalars, in the order of their declaration
  int32_t merges;  // 0: attends; 1: merges the partial results of a launch that has attended
};

// Tokens that the host's kernel works on at once, elements of a row of its outputs, and the scratch of one
// call.
inline constexpr int kHostTokens = 32;
STROBE_DEVICE constexpr int32_t host_out_stride(int32_t head_dim_vo) { return (head_dim_vo + 15) / 16 * 16; }
STROBE_DEVICE constexpr int64_t host_scratch_floats(int64_t rows, int32_t head_dim_qk, int32_t head_dim_vo) {
  const int32_t stride = host_out_stride(head_dim_vo);
  return rows * (head_dim_qk + stride + kHostTokens + 2) + kHostTokens * (2 * head_dim_qk + stride);
}

}  // namespace strobe::kernel
