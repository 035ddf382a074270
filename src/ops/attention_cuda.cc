#include "ops/attention_cuda.h"

#include <algorithm>
#include <initializer_list>

#include "ops/attention_f32_form.h"
#include "ops/attention_launch.h"
#include "ops/attention_prefill_cuda.h"

namespace strobe::op {
namespace {

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

// Whether the generic kernel on tensor cores takes it; what it does not take is attention_f32's.
bool on_tensor_cores(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                     cuda::Architecture architecture) {
  return serves_prefill(shape, architecture) && takes_operands(shape, params);
}

}  // namespace

bool is_aligned(const kernel::AttentionParams& params) {
  const auto all = [](std::int64_t unit, std::initializer_list<std::int64_t> numbers) {
    return std::all_of(numbers.begin(), numbers.end(), [&](std::int64_t x) { return x % unit == 0; });
  };
  const auto address = [](const void* p) {
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(p));
  };
  return all(16, {address(params.q), params.q_stride_token, params.q_stride_head, address(params.k),
                  params.k_stride_page, params.k_stride_token, params.k_stride_head, address(params.v),
                  params.v_stride_page, params.v_stride_token, params.v_stride_head}) &&
         all(params.out_dtype == static_cast<int>(Dtype::kF32) ? 8 : 4,
             {address(params.out), params.out_stride_token, params.out_stride_head});
}

void launch_grid(const jit::KernelSource& source, jit::Values values, const cuda::Dim3& grid,
                 const kernel::AttentionParams& params, const Gpu& gpu, const Launch& launch,
                 int shared_bytes) {
  const cuda::Kernel& kernel = jit::get(source, values, gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = grid,
                .shared_bytes = shared_bytes,
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               params);
}

plan::WorkListOptions list_options(const AttentionCudaShape& shape, const Gpu& gpu) {
  const bool tensor_cores = serves_prefill(shape, gpu.architecture);
  const int blocks_per_sm = tensor_cores ? 2 : 4;
  return {.num_kv_heads = shape.num_kv_heads,
          .group_size = shape.group(),
          .workers = gpu.sm_count * blocks_per_sm,
          .causal = shape.mask == MaskMode::kCausal,
          .window_left = shape.window_left,
          .deterministic = shape.deterministic,
          .item_rows = tensor_cores ? prefill_rows(shape, gpu.architecture) : kF32Rows,
          .heads_together = 1,
          .items_per_worker = 1,
          .many_rows_shares = 2};
}

std::string_view generic_kernel_name(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                                     cuda::Architecture architecture) {
  return on_tensor_cores(shape, params, architecture) ? "attention_prefill" : kF32.name;
}

std::string_view decode_kernel_name(const kernel::AttentionParams& params) {
  return is_aligned(params) ? "attention_decode" : kF32.name;
}

void launch_attention(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                      std::int64_t items, const Gpu& gpu, const Launch& launch) {
  if (on_tensor_cores(shape, params, gpu.architecture))
    return launch_prefill(shape, params, items, gpu, launch);
  launch_grid(kF32, {},
              {.x = static_cast<std::uint32_t>(items), .y = static_cast<std::uint32_t>(shape.num_kv_heads)},
              params, gpu, launch, f32_shared_bytes(shape.head_dim_qk, shape.head_dim_vo));
}

void launch_attention(const AttentionCudaShape& shape, const DecodeChoice& decode,
                      const kernel::AttentionParams& params, std::int64_t merges, const Gpu& gpu,
                      const Launch& launch) {
  if (is_aligned(params)) return launch_decode(decode, params, gpu, launch);
  launch_grid(kF32, {}, {.x = static_cast<std::uint32_t>(decode.blocks)}, params, gpu, launch,
              f32_shared_bytes(shape.head_dim_qk, shape.head_dim_vo));
  launch_attention_merge(params, merges, 1, gpu, launch);
}

void launch_attention_merge(const kernel::AttentionParams& params, std::int64_t merges, int heads,
                            const Gpu& gpu, const Launch& launch) {
  if (merges == 0) return;
  launch_grid(kMerge, {},
              {.x = static_cast<std::uint32_t>(merges),
               .y = static_cast<std::uint32_t>(heads),
               .z = static_cast<std::uint32_t>(params.partial_rows)},
              params, gpu, launch);
}

void declare_attention_kernels(jit::KernelRegistry& registry) {
  registry.add(kF32);
  registry.add(kMerge);
}

}  // namespace strobe::op
