// The one way to a CUDA kernel: loaded from the cache, or compiled when it is not there yet.
#pragma once

#include <initializer_list>
#include <span>

#include "cuda/launch.h"
#include "jit/kernel_source.h"
#include "strobe/device.h"

namespace strobe::jit {

// The kernel of these constants on that device. The first call loads it (and compiles it, when the cache has
// none); later calls find it without a lock. Threads that ask for one kernel at once share its compile.
// Errors: kInvalidArgument (no such device, no such kernel: the values are named), kUnsupported
// (STROBE_DISABLE_JIT or no NVRTC, and not in the cache; a miss while the calling thread captures a graph),
// kCompile, kDriver.
const cuda::Kernel& get(const KernelSource& source, Values values, Device device);

inline const cuda::Kernel& get(const KernelSource& source, std::initializer_list<int> values, Device device) {
  return get(source, Values(values.begin(), values.size()), device);
}

}  // namespace strobe::jit
