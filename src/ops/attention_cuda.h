// The kernels of attention on a GPU and their choice.
#pragma once

#include <string_view>

#include "attention/attention_params.h"
#include "ops/attention_cuda_shape.h"
#include "ops/attention_decode_cuda.h"
#include "ops/cuda_rows.h"
#include "plan/work_list.h"

namespace strobe::op {

// How the batch is cut for the kernel that serves it: rows of an item, and how many blocks run at once.
plan::WorkListOptions list_options(const AttentionCudaShape& shape, const Gpu& gpu);

// Which kernel the launches below take.
std::string_view generic_kernel_name(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                                     cuda::Architecture architecture);
std::string_view decode_kernel_name(const kernel::AttentionParams& params);

// A grid of (items, KV heads).
void launch_attention(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                      std::int64_t items, const Gpu& gpu, const Launch& launch);

// The decode kernel, which merges what it has cut, or where the operands are not aligned for it the one that
// takes them and a merge of its own.
void launch_attention(const AttentionCudaShape& shape, const DecodeChoice& decode,
                      const kernel::AttentionParams& params, std::int64_t merges, const Gpu& gpu,
                      const Launch& launch);

// A grid of (merges, `heads`, rows): the KV heads of a merge.
void launch_attention_merge(const kernel::AttentionParams& params, std::int64_t merges, int heads,
                            const Gpu& gpu, const Launch& launch);

}  // namespace strobe::op
