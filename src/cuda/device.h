// The GPUs that this process sees, and their primary contexts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cuda/architecture.h"
#include "cuda/driver_api.h"
#include "strobe/device.h"

namespace strobe::cuda {

struct DeviceFacts {
  int ordinal = 0;
  std::string name;
  int capability_major = 0;
  int capability_minor = 0;
  std::optional<Architecture> architecture;  // nothing when kernels are compiled for none that runs here
  int sm_count = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t l2_bytes = 0;
  int shared_bytes_per_block = 0;
  int clock_khz = 0;
  int memory_clock_khz = 0;
  int memory_bus_bits = 0;
};

// Number of devices; 0 when the driver cannot be used. Never throws.
int device_count();

// Facts of a device. Throws Error(kInvalidArgument) that says how many there are when there is no such
// device, and what driver() throws. In a rehearsal (rehearsal.h) the facts are those rehearsed for.
const DeviceFacts& device_facts(Device device);

// The architecture to compile for; Error(kUnsupported) names the device and what there is.
Architecture architecture_of(Device device);

// STROBE_DISABLE_SM90, as it was when it was first asked for.
bool sm90_disabled();

// Whether the cuda/sm90 backend serves the device: sm_90a, and not switched off.
bool serves_sm90(Device device);

// Makes the device's primary context current for the life of the object and restores the caller's afterwards.
// The context is retained at the first use of the device and never released: at exit the driver may be gone
// before us.
class ContextGuard {
 public:
  explicit ContextGuard(int ordinal);
  ~ContextGuard();
  ContextGuard(const ContextGuard&) = delete;
  ContextGuard& operator=(const ContextGuard&) = delete;

 private:
  ContextHandle previous_ = nullptr;
  bool restore_ = false;
};

}  // namespace strobe::cuda
