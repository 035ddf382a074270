// Loads compiled code.
#pragma once

#include <span>
#include <string>

#include "cuda/launch.h"

namespace strobe::cuda {

struct KernelDescription {
  std::string name;   // for messages
  std::string entry;  // symbol in the binary
  int threads = 0;
  int shared_bytes = 0;
};

// The kernel `entry` of a cubin, loaded on the device at once (not lazily at the first launch), ready for the
// dynamic shared memory that it asks for. Allowed while the calling thread captures a graph. The code stays
// loaded for the life of the process. Throws Error(kDriver) that names kernel, device and driver.
Kernel load_kernel(std::span<const char> cubin, const KernelDescription& description, int ordinal);

}  // namespace strobe::cuda
