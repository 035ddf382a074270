#include "ops/attention_cuda.h"

#include <algorithm>

namespace strobe::op {
namespace {

// Of kernels/attention/attention_f32.cuh.
constexpr int kF32Threads = 128, kF32Rows = 16, kF32Tokens = 32, kMostHeadDim = 512;

constexpr int f32_shared_bytes(int head_dim_qk, int head_dim_vo) {
  const int stride = std::max(head_dim_qk, head_dim_vo) | 1;
  return (kF32Rows * head_dim_qk + kF32Rows * kF32Tokens + kF32Tokens * stride) *
         static_cast<int>(sizeof(float));
}

constexpr jit::KernelSource kF32 = {.name = "attention_f32",
                                    .header = "attention/attention_f32.cuh",
                                    .launch_facts = [](jit::Values, cuda::Architecture) {
                                      return jit::LaunchFacts{
                                          .threads = kF32Threads,
                                          .shared_bytes = f32_shared_bytes(kMostHeadDim, kMostHeadDim)};
                                    }};

constexpr int kMergeThreads = 128;  // of kernels/attention/merge.cuh
constexpr jit::KernelSource kMerge = {.name = "attention_merge",
                                      .header = "attention/merge.cuh",
                                      .launch_facts = [](jit::Values, cuda::Architecture) {
                                        return jit::LaunchFacts{.threads = kMergeThreads};
                                      }};

void launch_grid(const jit::KernelSource& source, jit::Values values, const cuda::Dim3& grid,
                 int shared_bytes, const kernel::AttentionParams& params, const Gpu& gpu,
                 const Launch& launch) {
  const cuda::Kernel& kernel = jit::get(source, values, gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = grid,
                .shared_bytes = shared_bytes,
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               params);
}

}  // namespace

plan::WorkListOptions list_options(const AttentionCudaShape& shape, const Gpu& gpu) {
  constexpr int kBlocksPerSm = 4;
  return {.num_kv_heads = shape.num_kv_heads,
          .group_size = shape.group(),
          .workers = gpu.sm_count * kBlocksPerSm,
          .causal = shape.mask == MaskMode::kCausal,
          .window_left = shape.window_left,
          .deterministic = shape.deterministic,
          .item_rows = kF32Rows,
          .heads_together = 1,
          .items_per_worker = 1,
          .many_rows_shares = 2};
}

void launch_attention(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                      std::int64_t items, const Gpu& gpu, const Launch& launch) {
  launch_grid(kF32, {},
              {.x = static_cast<std::uint32_t>(items), .y = static_cast<std::uint32_t>(shape.num_kv_heads)},
              f32_shared_bytes(shape.head_dim_qk, shape.head_dim_vo), params, gpu, launch);
}

void launch_attention_merge(const kernel::AttentionParams& params, std::int64_t merges, const Gpu& gpu,
                            const Launch& launch) {
  if (merges == 0) return;
  launch_grid(kMerge, {},
              {.x = static_cast<std::uint32_t>(merges),
               .y = static_cast<std::uint32_t>(params.num_kv_heads),
               .z = static_cast<std::uint32_t>(params.partial_rows)},
              -1, params, gpu, launch);
}

void declare_attention_kernels(jit::KernelRegistry& registry) {
  registry.add(kF32);
  registry.add(kMerge);
}

}  // namespace strobe::op
