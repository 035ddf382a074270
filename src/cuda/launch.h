// Loaded kernels and their launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "cuda/driver_api.h"
#include "strobe/device.h"

namespace strobe::cuda {

// A kernel loaded on one device, ready to launch. jit::get hands them out; they live as long as the process.
struct Kernel {
  FunctionHandle function = nullptr;  // null in a rehearsal (rehearsal.h)
  std::string name;                   // with its constants, for messages
  int device = 0;                     // ordinal
  int threads = 0;                    // of a block, from the source's launch facts
  int shared_bytes = 0;               // dynamic shared memory of a block, from the launch facts
  std::size_t params_bytes = 0;  // of the parameter struct as compiled; 0 when the driver is too old to say
};

struct Dim3 {
  std::uint32_t x = 1, y = 1, z = 1;
};

struct LaunchConfig {
  Dim3 grid;
  Dim3 block;  // x = 1 and y = z = 1: the kernel's own number of threads
  Dim3 cluster;
  int shared_bytes = -1;  // dynamic; -1: the kernel's own
  bool pdl =
      false;  // may start while the kernel before it in the stream still runs (programmatic dependent launch)
  bool cooperative = false;  // all blocks run at once, so that they may wait for each other
  Stream stream;             // of the kernel's device; null: its default stream
};

// Enqueues the kernel; allocates nothing and takes no lock. The caller's current context is what it was when
// this returns or throws Error(kDriver).
void launch_erased(const Kernel& kernel, const LaunchConfig& config, const void* params,
                   std::size_t params_bytes);

template <class Params>
void launch(const Kernel& kernel, const LaunchConfig& config, const Params& params) {
  static_assert(std::is_trivially_copyable_v<Params>);
  launch_erased(kernel, config, &params, sizeof(Params));
}

}  // namespace strobe::cuda
