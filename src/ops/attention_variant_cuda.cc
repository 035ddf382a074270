#include "ops/attention_variant_cuda.h"

#include <algorithm>

#include "ops/attention_f32_form.h"

namespace strobe::op {

jit::KernelSource variant_kernel(std::string_view name, std::string_view source) {
  static constexpr std::string_view kOptions[] = {"--device-as-default-execution-space"};
  return {.name = "attention_variant",
          .header = "attention/attention_variant.cuh",
          .label = name,
          .text = source,
          .options = kOptions,
          .launch_facts = [](jit::Values, cuda::Architecture) {
            return jit::LaunchFacts{.threads = kF32Threads,
                                    .shared_bytes = f32_shared_bytes(kMostHeadDim, kMostHeadDim)};
          }};
}

void launch_variant(const jit::KernelSource& source, const kernel::VariantParams& params, std::int64_t items,
                    std::int64_t merges, const Gpu& gpu, const Launch& launch) {
  const kernel::AttentionParams& attention = params.attention;
  const auto heads = static_cast<std::uint32_t>(attention.num_kv_heads);
  const auto start = [&](const cuda::Dim3& grid, int shared_bytes, bool merge) {
    kernel::VariantParams given = params;
    given.merges = merge;
    cuda::launch(jit::get(source, {}, gpu.device, launch.stream),
                 {.grid = grid,
                  .shared_bytes = shared_bytes,
                  .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                  .stream = launch.stream},
                 given);
  };
  if (items > 0)
    start({.x = static_cast<std::uint32_t>(items), .y = heads},
          f32_shared_bytes(attention.head_dim_qk, attention.head_dim_vo), false);
  if (merges > 0)
    start({.x = static_cast<std::uint32_t>(merges),
           .y = heads,
           .z = static_cast<std::uint32_t>(attention.partial_rows)},
          0, true);
}

}  // namespace strobe::op
