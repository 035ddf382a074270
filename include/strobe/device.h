// Where tensors live and kernels run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "strobe/export.h"

namespace strobe::inline v1 {

enum class DeviceType : std::uint8_t { kCpu, kCuda };

struct Device {
  DeviceType type = DeviceType::kCpu;
  std::int8_t index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

// "cpu", "cuda:0".
STROBE_API std::string to_string(Device device);

// Work queue of the device on which the tensors of a call live: a CUstream for CUDA (null: the default
// stream). The CPU has none; a CPU call has finished when it returns.
struct Stream {
  void* handle = nullptr;
};

// The implementations of an operator. kAuto picks the best one that serves the call.
enum class Backend : std::uint8_t { kAuto, kCpu, kCudaSm80, kCudaSm90 };
inline constexpr int kBackendCount = 4;

// "auto", "cpu", "cuda/sm80", "cuda/sm90".
STROBE_API std::string_view name(Backend backend);

// How a call runs. A Stream converts to it, so that `rmsnorm(args, stream)` reads well.
struct Launch {
  Stream stream;
  Backend backend = Backend::kAuto;
  Launch() = default;
  Launch(Stream stream) : stream(stream) {}      // NOLINT: implicit by design
  Launch(Backend backend) : backend(backend) {}  // NOLINT: implicit by design
  Launch(Stream stream, Backend backend) : stream(stream), backend(backend) {}
};

}  // namespace strobe::inline v1
