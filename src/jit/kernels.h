// The one way to a CUDA kernel: loaded from the cache, or compiled when it is not there yet.
#pragma once

#include <initializer_list>
#include <span>

#include "cuda/launch.h"
#include "jit/kernel_source.h"
#include "strobe/device.h"

namespace strobe::jit {

// The kernel of these constants on that device, to be launched on `stream`. The first call loads it (and
// compiles it, when the cache has none); later calls find it without a lock. Threads that ask for one kernel
// at once share its compile. Errors: kInvalidArgument (no such device, no such kernel: the values are named),
// kUnsupported (STROBE_DISABLE_JIT or no NVRTC, and not in the cache; a miss while `stream` is being captured
// into a graph), kCompile, kDriver.
const cuda::Kernel& get(const KernelSource& source, Values values, Device device, Stream stream);

inline const cuda::Kernel& get(const KernelSource& source, std::initializer_list<int> values, Device device,
                               Stream stream) {
  return get(source, Values(values.begin(), values.size()), device, stream);
}

}  // namespace strobe::jit
