// The kernel of a variant on a GPU.
#pragma once

#include <string_view>

#include "attention/variant_params.h"
#include "jit/kernel_source.h"
#include "ops/cuda_rows.h"

namespace strobe::op {

// Both texts live as long as the program.
jit::KernelSource variant_kernel(std::string_view name, std::string_view source);

// Grids of (items, KV heads), then of (merges, KV heads, rows). Compiles where nothing has been compiled yet.
void launch_variant(const jit::KernelSource& source, const kernel::VariantParams& params, std::int64_t items,
                    std::int64_t merges, const Gpu& gpu, const Launch& launch);

}  // namespace strobe::op
