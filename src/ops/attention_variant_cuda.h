// The kernels of a variant on a GPU.
#pragma once

#include <string>
#include <string_view>

#include "attention/variant_params.h"
#include "jit/kernel_source.h"
#include "ops/attention_cuda_shape.h"
#include "ops/cuda_rows.h"

namespace strobe::op {

struct VariantKernels {
  jit::KernelSource tiles;  // on tensor cores: attention/prefill_variant.cuh
  jit::KernelSource f32;    // on the CUDA cores, for all that the other does not take
};

// Both texts live as long as the program.
VariantKernels variant_kernels(std::string_view name, std::string_view source);

// Compiles the kernel that runs of the shape will take, unless their rows are not aligned.
void compile_variant(const VariantKernels& kernels, const AttentionCudaShape& shape, const Gpu& gpu,
                     Stream stream);

// Which of them a launch takes, and why not the fast one, for logs.
std::string variant_kernel_name(const VariantKernels& kernels, const AttentionCudaShape& shape,
                                const kernel::AttentionParams& params, cuda::Architecture architecture);

// Grids of (items, KV heads), then of (merges, KV heads, rows).
void launch_variant(const VariantKernels& kernels, const AttentionCudaShape& shape,
                    const kernel::VariantParams& params, std::int64_t items, std::int64_t merges,
                    const Gpu& gpu, const Launch& launch);

}  // namespace strobe::op
