// The prefill kernel, with the library's own logits or a variant's: choice and launch.
#pragma once

#include <array>

#include "attention/attention_params.h"
#include "jit/kernel_source.h"
#include "ops/attention_cuda_shape.h"
#include "ops/cuda_rows.h"

namespace strobe::op {

// Whether the kernel takes the shape, for requests of any length: 16-bit queries, and a cache of their dtype
// or of 8 bits; RoPE on the fly, and a variant's changes of queries and keys, as far as shared memory goes;
// variants of head dimensions that one block does whole, since hooks are called once.
bool serves_prefill(const AttentionCudaShape& shape, cuda::Architecture architecture);

// The head dimensions of variants: beyond, blocks share V's elements, and hooks are to be called once.
inline constexpr int kMostVariantDims = 256;

// Whether it takes these operands of such a shape: any, but changes of queries and keys ask for rows of whole
// chunks of 16 bytes.
bool takes_operands(const AttentionCudaShape& shape, const kernel::AttentionParams& params);

// The most rows of an item.
int prefill_rows(const AttentionCudaShape& shape, cuda::Architecture architecture);

// The kernel for such operands.
struct PrefillForm {
  std::array<int, 9> values{};  // of its constants
  int parts = 1;                // blocks that share V's elements
};
PrefillForm prefill_form(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                         cuda::Architecture architecture);

// The kernel with a variant's hooks, but for the text.
jit::KernelSource prefill_variant_source();

// A grid of (items, KV heads).
void launch_prefill(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                    std::int64_t items, const Gpu& gpu, const Launch& launch);

}  // namespace strobe::op
