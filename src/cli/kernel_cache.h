// What the commands around the kernel cache share.
#pragma once

#include <string>
#include <vector>

#include "cuda/architecture.h"
#include "jit/cache.h"

namespace strobe::cli {

// The architectures named; without any, those of STROBE_CUDA_ARCH_LIST, of the devices here, or all.
std::vector<cuda::Architecture> wanted_architectures(const std::vector<std::string>& names);

// Removes temporaries, kept failures, and files of entries without a record; the number of files.
int clear_incomplete(jit::Cache& cache);

}  // namespace strobe::cli
