#include "op/call.h"

#include "core/log.h"
#include "core/message.h"
#include "cuda/device.h"
#include "op/call_dump.h"
#include "op/call_log.h"

namespace strobe::op {
namespace {

bool serves(Backend backend, Device device) {
  if (backend == Backend::kCpu || device.type == DeviceType::kCpu)
    return backend == Backend::kCpu && device.type == DeviceType::kCpu;
  return backend != Backend::kCudaSm90 || cuda::serves_sm90(device);
}

}  // namespace

Device device_of(const Operator& op, const void* args) {
  for (const Operand& operand : op.operands)
    if (!operand.on_host && operand.of(args).given()) return operand.of(args).device;
  return {};
}

Backend select_backend(const Operator& op, Device device, Backend wanted) {
  for (int i = kBackendCount - 1; i > 0; --i) {
    const auto backend = static_cast<Backend>(i);
    if ((wanted == Backend::kAuto || wanted == backend) && op.has(backend) && serves(backend, device))
      return backend;
  }
  std::string available;
  for (int i = kBackendCount - 1; i > 0; --i)
    if (const auto backend = static_cast<Backend>(i); op.has(backend))
      available += fmt::format("{}{}", available.empty() ? "" : ", ", strobe::name(backend));
  fail(ErrorKind::kUnsupported, "{}: backend '{}' does not serve tensors on {}; this operator has: {}",
       op.name, strobe::name(wanted), to_string(device), available);
}

namespace {

void call_with_log(const Operator& op, const void* args, const Axes& axes, Backend backend,
                   const Launch& launch) {
  const std::uint64_t number = log_call(op, args, Phase::kRun, backend, launch.stream);
  const std::unique_ptr<CallDump> dump = CallDump::begin(op, args, Phase::kRun, backend, launch.stream);
  op.backends[static_cast<std::size_t>(backend)](args, axes, launch);
  log_result(op, args, Phase::kRun, number, launch.stream);
  if (dump != nullptr) dump->complete();
}

}  // namespace

void call_erased(const Operator& op, const void* args, const Launch& launch) {
  Axes axes;
  validate(op, args, Phase::kRun, axes);
  const Backend backend = select_backend(op, device_of(op, args), launch.backend);
  if (log::level() > 0) [[unlikely]]
    return call_with_log(op, args, axes, backend, launch);
  op.backends[static_cast<std::size_t>(backend)](args, axes, launch);
}

}  // namespace strobe::op
