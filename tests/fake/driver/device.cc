#include "device.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "cuda/architecture.h"

namespace emulated {
namespace {

using namespace strobe::cuda;

Context contexts[kMostDevices] = {{0}, {1}};
thread_local ContextHandle current = nullptr;

int number(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::atoi(text) : otherwise;
}

// EMULATED_DEVICES: 1 unless it says 2.
int device_count() { return std::clamp(number("EMULATED_DEVICES", 1), 0, kMostDevices); }

const ArchitectureFacts* architecture() {
  for (const ArchitectureFacts& facts : kArchitectures)
    if (facts.capability_major * 10 + facts.capability_minor == capability()) return &facts;
  return nullptr;
}

}  // namespace

int capability() {
  static const int value = number("EMULATED_CAPABILITY", 90);
  return value;
}
int shared_bytes_per_block() { return architecture()->shared_bytes_per_block; }
int shared_bytes_per_sm() { return architecture()->shared_bytes_per_sm; }
int threads_per_sm() { return architecture()->threads_per_sm; }

ContextHandle current_context() { return current; }

Result need_context() {
  if (const Result result = lost(); result != kSuccess) return result;
  return current == nullptr ? kInvalidContext : kSuccess;
}

}  // namespace emulated

using namespace emulated;

EXPORT Result cuInit(unsigned flags) {
  if (flags != 0) return kInvalidValue;
  if (::access(EMULATED_COMPILER, X_OK) != 0)
    return explain(kNotReady, "the compiler " EMULATED_COMPILER " of the emulated GPU cannot be run");
  if (architecture() == nullptr) return explain(kNotReady, "EMULATED_CAPABILITY names no architecture");
  return kSuccess;
}
EXPORT Result cuDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}
EXPORT Result cuDeviceGetCount(int* count) {
  *count = device_count();
  return kSuccess;
}
EXPORT Result cuDeviceGet(DeviceHandle* device, int ordinal) {
  if (ordinal < 0 || ordinal >= device_count()) return kInvalidDevice;
  *device = ordinal;
  return kSuccess;
}
EXPORT Result cuDeviceGetName(char* name, int bytes, DeviceHandle device) {
  if (device < 0 || device >= device_count()) return kInvalidDevice;
  std::snprintf(name, static_cast<std::size_t>(bytes), "Emulated GPU (sm_%d)", capability());
  return kSuccess;
}
EXPORT Result cuDeviceGetAttribute(int* value, DeviceAttribute attribute, DeviceHandle device) {
  if (device < 0 || device >= device_count()) return kInvalidDevice;
  switch (attribute) {
    case kDeviceClockKHz:
    case kDeviceMemoryClockKHz:
      *value = 1000000;
      return kSuccess;
    case kDeviceSmCount:
      *value = kSmCount;
      return kSuccess;
    case kDeviceMemoryBusBits:
      *value = 64;
      return kSuccess;
    case kDeviceL2Bytes:
      *value = 1 << 20;
      return kSuccess;
    case kDeviceCapabilityMajor:
      *value = capability() / 10;
      return kSuccess;
    case kDeviceCapabilityMinor:
      *value = capability() % 10;
      return kSuccess;
    case kDeviceCooperativeLaunch:
      *value = 0;
      return kSuccess;
    case kDeviceSharedBytesPerBlock:
      *value = shared_bytes_per_block();
      return kSuccess;
  }
  return kInvalidValue;
}
EXPORT Result cuDeviceTotalMem_v2(std::size_t* bytes, DeviceHandle device) {
  if (device < 0 || device >= device_count()) return kInvalidDevice;
  *bytes = kMemoryBytes;
  return kSuccess;
}
EXPORT Result cuDevicePrimaryCtxRetain(ContextHandle* context, DeviceHandle device) {
  if (device < 0 || device >= device_count()) return kInvalidDevice;
  *context = &contexts[device];
  return kSuccess;
}
EXPORT Result cuCtxGetCurrent(ContextHandle* context) {
  *context = current;
  return kSuccess;
}
EXPORT Result cuCtxSetCurrent(ContextHandle context) {
  current = context;
  return kSuccess;
}
