// Compiles a list of kernels into the cache ahead of time.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "jit/compiler.h"

namespace strobe::jit {

struct WarmUpItem {
  Variant variant;
  bool compiled = false;  // rather than found in the cache
  bool clean = true;      // no spills, stack frame or warnings
  double seconds = 0;     // of the compile
  std::string notes;      // registers, shared memory, warnings
  std::string error;      // empty when all is well
};

// Called after each kernel, from one thread at a time, in the order in which they end.
using WarmUpProgress = std::function<void(std::size_t done, std::size_t total, const WarmUpItem& item)>;

// Brings every kernel into the cache, `jobs` at a time, by the NVRTC at hand. A kernel that does not compile
// does not stop the others. The items come back in the order of `variants`.
std::vector<WarmUpItem> warm_up(Compiler& compiler, std::span<const Variant> variants, int jobs,
                                const WarmUpProgress& progress);

// Every kernel of the library for the architecture; without those of Hopper's own backend when
// STROBE_DISABLE_SM90 is set.
std::vector<Variant> library_variants(cuda::Architecture architecture);

}  // namespace strobe::jit
