#include "cuda/device.h"

#include <memory>
#include <mutex>
#include <vector>

#include "core/env.h"
#include "core/message.h"
#include "cuda/driver.h"
#include "cuda/rehearsal.h"

namespace strobe::cuda {
namespace {

struct DeviceState {
  DeviceHandle handle = 0;
  DeviceFacts facts;
  std::once_flag retain;
  ContextHandle context = nullptr;
};

DeviceFacts read_facts(int ordinal, DeviceHandle handle) {
  const DriverApi& api = driver();
  const auto attribute = [&](DeviceAttribute which) {
    int value = 0;
    check(api.cuDeviceGetAttribute(&value, which, handle), "cuDeviceGetAttribute");
    return value;
  };
  DeviceFacts facts;
  facts.ordinal = ordinal;
  char name[256] = "";
  check(api.cuDeviceGetName(name, sizeof name, handle), "cuDeviceGetName");
  facts.name = name;
  facts.capability_major = attribute(kDeviceCapabilityMajor);
  facts.capability_minor = attribute(kDeviceCapabilityMinor);
  facts.architecture = architecture_of(facts.capability_major, facts.capability_minor);
  facts.sm_count = attribute(kDeviceSmCount);
  std::size_t bytes = 0;
  check(api.cuDeviceTotalMem_v2(&bytes, handle), "cuDeviceTotalMem");
  facts.memory_bytes = static_cast<std::int64_t>(bytes);
  facts.l2_bytes = attribute(kDeviceL2Bytes);
  facts.shared_bytes_per_block = attribute(kDeviceSharedBytesPerBlock);
  facts.clock_khz = attribute(kDeviceClockKHz);
  facts.memory_clock_khz = attribute(kDeviceMemoryClockKHz);
  facts.memory_bus_bits = attribute(kDeviceMemoryBusBits);
  return facts;
}

// The devices of this process, found once; the list outlives every static object that might still launch at
// exit.
const std::vector<std::unique_ptr<DeviceState>>& devices() {
  static const auto& list = *new std::vector<std::unique_ptr<DeviceState>>([] {
    std::vector<std::unique_ptr<DeviceState>> found;
    const DriverApi& api = driver();
    int count = 0;
    check(api.cuDeviceGetCount(&count), "cuDeviceGetCount");
    for (int ordinal = 0; ordinal < count; ++ordinal) {
      auto state = std::make_unique<DeviceState>();
      check(api.cuDeviceGet(&state->handle, ordinal), "cuDeviceGet");
      state->facts = read_facts(ordinal, state->handle);
      found.push_back(std::move(state));
    }
    return found;
  }());
  return list;
}

DeviceState& state_of(int ordinal) {
  const auto& list = devices();
  if (ordinal < 0 || static_cast<std::size_t>(ordinal) >= list.size()) [[unlikely]]
    fail(ErrorKind::kInvalidArgument, "device cuda:{}: this process sees {} CUDA device{}", ordinal,
         list.size(), list.size() == 1 ? " (cuda:0)" : "s");
  return *list[static_cast<std::size_t>(ordinal)];
}

ContextHandle primary_context(int ordinal) {
  DeviceState& state = state_of(ordinal);
  std::call_once(state.retain, [&] {
    check(driver().cuDevicePrimaryCtxRetain(&state.context, state.handle), "cuDevicePrimaryCtxRetain");
  });
  return state.context;
}

}  // namespace

int device_count() {
  try {
    return driver_status().problem.empty() ? static_cast<int>(devices().size()) : 0;
  } catch (const Error&) {
    return 0;  // CUDA_ERROR_NO_DEVICE and the like
  }
}

const DeviceFacts& device_facts(Device device) {
  if (device.type != DeviceType::kCuda)
    fail(ErrorKind::kInvalidArgument, "device {}: expected a CUDA device", to_string(device));
  if (const Rehearsal* rehearsed = rehearsal(); rehearsed != nullptr) return rehearsed->facts();
  return state_of(device.index).facts;
}

Architecture architecture_of(Device device) {
  const DeviceFacts& facts = device_facts(device);
  if (facts.architecture) return *facts.architecture;
  std::vector<std::string_view> names;
  for (const ArchitectureFacts& known : kArchitectures) names.push_back(known.name);
  fail(ErrorKind::kUnsupported, "device {} ({}) has compute capability {}.{}; Strobe has kernels for {}",
       to_string(device), facts.name, facts.capability_major, facts.capability_minor, fmt::join(names, ", "));
}

bool sm90_disabled() {
  static const bool disabled = env::integer(env::Variable::kDisableSm90, 0, 1, 0) == 1;
  return disabled;
}

bool serves_sm90(Device device) {
  return device_facts(device).architecture == Architecture::kSm90a && !sm90_disabled();
}

ContextGuard::ContextGuard(int ordinal) {
  const ContextHandle context = primary_context(ordinal);
  const DriverApi& api = driver();
  check(api.cuCtxGetCurrent(&previous_), "cuCtxGetCurrent");
  if (previous_ == context) return;
  check(api.cuCtxSetCurrent(context), "cuCtxSetCurrent");
  restore_ = true;
}

ContextGuard::~ContextGuard() {
  if (restore_) driver().cuCtxSetCurrent(previous_);
}

}  // namespace strobe::cuda
