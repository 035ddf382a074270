// The prefill kernel: choice and launch.
#pragma once

#include "attention/attention_params.h"
#include "ops/attention_cuda_shape.h"
#include "ops/cuda_rows.h"

namespace strobe::op {

// Whether the kernel takes the shape, for requests of any length: 16-bit queries, and a cache of their dtype
// or of 8 bits; RoPE on the fly as far as shared memory goes.
bool serves_prefill(const AttentionCudaShape& shape, cuda::Architecture architecture);

// Whether it takes these operands of such a shape: any, but RoPE on the fly asks for rows of whole chunks of
// 16 bytes.
bool takes_operands(const AttentionCudaShape& shape, const kernel::AttentionParams& params);

// The most rows of an item.
int prefill_rows(const AttentionCudaShape& shape, cuda::Architecture architecture);

// A grid of (items, KV heads).
void launch_prefill(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                    std::int64_t items, const Gpu& gpu, const Launch& launch);

}  // namespace strobe::op
