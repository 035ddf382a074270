// The kernels of attention on a GPU and their choice.
#pragma once

#include "attention/attention_params.h"
#include "ops/attention_cuda_shape.h"
#include "ops/cuda_rows.h"
#include "plan/work_list.h"

namespace strobe::op {

// How the batch is cut for the kernel that serves it: rows of an item, and how many blocks run at once.
plan::WorkListOptions list_options(const AttentionCudaShape& shape, const Gpu& gpu);

// A grid of (items, KV heads).
void launch_attention(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                      std::int64_t items, const Gpu& gpu, const Launch& launch);

// A grid of (merges, KV heads, rows): `kv_heads` is 1 when every KV head has merges of its own.
void launch_attention_merge(const kernel::AttentionParams& params, std::int64_t merges, int kv_heads,
                            const Gpu& gpu, const Launch& launch);

}  // namespace strobe::op
