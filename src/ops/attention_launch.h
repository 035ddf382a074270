// What the launches of the attention kernels share.
#pragma once

#include "attention/attention_params.h"
#include "ops/cuda_rows.h"

namespace strobe::op {

// Whether 16-byte copies of q, k and v and stores of pairs to out are possible.
bool is_aligned(const kernel::AttentionParams& params);

// `shared_bytes` of dynamic shared memory, or what the kernel's launch facts say.
void launch_grid(const jit::KernelSource& source, jit::Values values, const cuda::Dim3& grid,
                 const kernel::AttentionParams& params, const Gpu& gpu, const Launch& launch,
                 int shared_bytes = -1);

}  // namespace strobe::op
