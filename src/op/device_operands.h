// Calls whose operands were made on the CPU, run on another device.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "cuda/device_buffer.h"
#include "op/operator.h"

namespace strobe::op {

// The planned attributes that say on which device a run's operands will be.
inline constexpr char kDeviceType[] = "device_type", kDeviceIndex[] = "device_index";

// Sets them, where the operator has them.
void set_planned_device(const Operator& op, void* args, Device device);

// Copies of a call's operands in a GPU's memory, gaps included (those that stay on the host excepted).
// Operands with the same data work in place and share one. While it lives, the arguments name the copies
// and plan for their device; then they name the host's memory again.
class DeviceOperands {
 public:
  DeviceOperands(const Operator& op, void* args, Device device);
  ~DeviceOperands();
  DeviceOperands(const DeviceOperands&) = delete;
  DeviceOperands& operator=(const DeviceOperands&) = delete;

  // Brings back what the copies hold now; the work on them is done. The host's memory still exists.
  void download() const;

 private:
  struct Copy {
    std::byte* host;  // its first byte
    cuda::DeviceBuffer buffer;
  };
  static Copy make_copy(const TensorView& host, Device device);

  const Operator& op_;
  void* args_;
  std::vector<TensorView> host_views_;
  std::map<void*, Copy> copies_;  // by the data of the host's view
};

// Other arguments of the same values, which name the same operands.
std::shared_ptr<void> copy_args(const Operator& op, const void* args);

// Calls `run` while `args` name copies of the operands on `device`, waits for its default stream, and brings
// back what was written. On the CPU it just calls `run`.
void run_on_device(const Operator& op, void* args, Device device, const std::function<void()>& run);

}  // namespace strobe::op
