// The list of kernel families of this build; CMake writes its implementation from STROBE_CUDA_FAMILIES.
#pragma once

#include "jit/kernel_source.h"

namespace strobe::jit {

void declare_builtin_kernels(KernelRegistry& registry);

}  // namespace strobe::jit
