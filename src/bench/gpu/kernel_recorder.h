// When kernels began and ended on a GPU, as CUPTI records it: the GPU's own time, without launches and the
// gaps before them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace strobe::bench {

// Why CUPTI cannot be used; empty when it can. Loads it (STROBE_CUPTI, or where CUDA is installed).
const std::string& cupti_problem();

struct KernelTime {
  std::uint64_t begin = 0, end = 0;  // nanoseconds
};

// Records the kernels of this process while it lives, also copies and fills when asked; one at a time.
class KernelRecorder {
 public:
  // Throws Error(kUnsupported) with cupti_problem(), or when another profiler has the GPU.
  explicit KernelRecorder(bool copies_and_fills = false);
  ~KernelRecorder();
  KernelRecorder(const KernelRecorder&) = delete;
  KernelRecorder& operator=(const KernelRecorder&) = delete;

  // Kernels since the last call; those that still run are not among them.
  std::vector<KernelTime> take();
};

}  // namespace strobe::bench
