#include "strobe/device.h"

namespace strobe::inline v1 {

std::string to_string(Device device) {
  return device.type == DeviceType::kCpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

std::string_view name(Backend backend) {
  constexpr std::string_view kNames[kBackendCount] = {"auto", "cpu", "cuda/sm80", "cuda/sm90"};
  return kNames[static_cast<int>(backend)];
}

}  // namespace strobe::inline v1
