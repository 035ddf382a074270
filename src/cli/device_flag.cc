#include "cli/device_flag.h"

#include "core/message.h"

namespace strobe::cli {

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "cuda") return {DeviceType::kCuda, 0};
  for (std::int8_t index = 0; index < 64; ++index)
    if (const Device device{DeviceType::kCuda, index}; text == to_string(device)) return device;
  fail(ErrorKind::kInvalidArgument, "--device: expected cpu, cuda or cuda:<number>, got '{}'", text);
}

}  // namespace strobe::cli
