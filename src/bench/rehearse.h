// Which CUDA kernels a benchmark case needs, found out without a GPU.
#pragma once

#include <vector>

#include "bench/case_line.h"
#include "jit/kernel_source.h"

namespace strobe::bench {

// The kernels that the case launches on a device of the architecture: its inputs are made on the host, and
// the operator is called on them as if they were on the device, in a rehearsal. None when the operator has no
// CUDA backend.
std::vector<jit::Variant> kernels_of(const BenchCase& bench_case, cuda::Architecture architecture);

}  // namespace strobe::bench
