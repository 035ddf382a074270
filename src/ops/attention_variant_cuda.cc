#include "ops/attention_variant_cuda.h"

#include <fmt/core.h>

#include <algorithm>

#include "ops/attention_f32_form.h"
#include "ops/attention_prefill_cuda.h"

namespace strobe::op {
namespace {

constexpr std::string_view kOptions[] = {"--device-as-default-execution-space"};

bool on_tensor_cores(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                     cuda::Architecture architecture) {
  return serves_prefill(shape, architecture) && takes_operands(shape, params);
}

std::string_view why_not_tiles(const AttentionCudaShape& shape, cuda::Architecture architecture) {
  if (serves_prefill(shape, architecture)) return "rows that hooks change are not chunks of 16 bytes";
  if (shape.q_dtype == Dtype::kF32) return "f32 queries";
  if (std::max(shape.head_dim_qk, shape.head_dim_vo) > kMostVariantDims) return "head dimension beyond 256";
  return "shared memory holds no changed rows of this head dimension";
}

// Aligned operands, as far as the choice of a kernel looks at them.
kernel::AttentionParams common_operands(const AttentionCudaShape& shape) {
  kernel::AttentionParams params{};
  params.out_dtype = static_cast<std::int32_t>(shape.q_dtype);
  return params;
}

}  // namespace

VariantKernels variant_kernels(std::string_view name, std::string_view source) {
  const auto of_text = [&](jit::KernelSource kernel) {
    kernel.label = name;
    kernel.text = source;
    kernel.options = kOptions;
    return kernel;
  };
  return {.tiles = of_text(prefill_variant_source()),
          .f32 = of_text({.name = "attention_variant",
                          .header = "attention/attention_variant.cuh",
                          .launch_facts = [](jit::Values, cuda::Architecture) {
                            return jit::LaunchFacts{
                                .threads = kF32Threads,
                                .shared_bytes = f32_shared_bytes(kMostHeadDim, kMostHeadDim)};
                          }})};
}

void compile_variant(const VariantKernels& kernels, const AttentionCudaShape& shape, const Gpu& gpu,
                     Stream stream) {
  const kernel::AttentionParams params = common_operands(shape);
  if (on_tensor_cores(shape, params, gpu.architecture))
    (void)jit::get(kernels.tiles, prefill_form(shape, params, gpu.architecture).values, gpu.device, stream);
  else
    (void)jit::get(kernels.f32, {}, gpu.device, stream);
}

std::string variant_kernel_name(const VariantKernels& kernels, const AttentionCudaShape& shape,
                                const kernel::AttentionParams& params, cuda::Architecture architecture) {
  if (on_tensor_cores(shape, params, architecture)) return std::string(kernels.tiles.name);
  return fmt::format("{} (CUDA cores: {})", kernels.f32.name, why_not_tiles(shape, architecture));
}

void launch_variant(const VariantKernels& kernels, const AttentionCudaShape& shape,
                    const kernel::VariantParams& params, std::int64_t items, std::int64_t merges,
                    const Gpu& gpu, const Launch& launch) {
  const kernel::AttentionParams& attention = params.attention;
  const bool tiles = on_tensor_cores(shape, attention, gpu.architecture);
  const PrefillForm form = tiles ? prefill_form(shape, attention, gpu.architecture) : PrefillForm{};
  const cuda::Kernel& kernel = tiles ? jit::get(kernels.tiles, form.values, gpu.device, launch.stream)
                                     : jit::get(kernels.f32, {}, gpu.device, launch.stream);
  const int shared_bytes =
      tiles ? kernel.shared_bytes : f32_shared_bytes(attention.head_dim_qk, attention.head_dim_vo);
  const auto heads = static_cast<std::uint32_t>(attention.num_kv_heads);
  const auto start = [&](const cuda::Dim3& grid, int bytes, bool merge) {
    kernel::VariantParams given = params;
    given.merges = merge;
    cuda::launch(kernel,
                 {.grid = grid,
                  .shared_bytes = bytes,
                  .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                  .stream = launch.stream},
                 given);
  };
  if (items > 0) start({.x = static_cast<std::uint32_t>(items), .y = heads}, shared_bytes, false);
  if (merges > 0)
    start({.x = static_cast<std::uint32_t>(merges),
           .y = heads,
           .z = static_cast<std::uint32_t>(attention.partial_rows)},
          0, true);
}

}  // namespace strobe::op
