// Calls of a solution on a GPU, within its own process.
//
// The tensors of all calls lie in device memory as they do in the memory that is shared with the arbiter, so
// that guards, poison and inputs go over and come back with them, and the arbiter looks at all of it on its
// own side. Inputs are brought in, and outputs taken away, by the device's default stream: what a solution
// does in another stream that is not ordered with it comes too early or too late.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "bench/gpu/kernel_recorder.h"
#include "cuda/device_buffer.h"

namespace strobe::trace {

class GpuCalls {
 public:
  GpuCalls(int device, std::span<std::byte> host);

  // Where byte 0 of the host's memory lies on the device.
  char* memory() const { return static_cast<char*>(memory_.data()); }
  // "cupti", or "events" where there is no CUPTI.
  const char* clock() const { return recorder_ ? "cupti" : "events"; }

  // Brings the memory over, calls, brings it back. All calls are enqueued before the first input arrives;
  // when `waits` is set, the device waits before each call instead.
  void check(const std::vector<std::size_t>& sets, const std::function<void(std::size_t)>& call, bool waits);
  // The same call by call, each behind a flush of the L2 cache: milliseconds of the device.
  std::vector<double> time(const std::vector<std::size_t>& sets,
                           const std::function<void(std::size_t)>& call);
  // Nothing is brought: calls one after the other, to their end.
  void run_through(const std::vector<std::size_t>& sets, const std::function<void(std::size_t)>& call);

 private:
  void bring_late();
  void take_away();
  void flush_l2();
  double time_of(const std::function<void()>& call);

  Device device_;
  std::span<std::byte> host_;
  cuda::DeviceBuffer memory_, staging_, flush_;
  std::unique_ptr<bench::KernelRecorder> recorder_;
};

}  // namespace strobe::trace
