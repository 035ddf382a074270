#include "op/call_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <atomic>
#include <chrono>

#include "core/log.h"
#include "cuda/capture.h"
#include "op/statistics.h"
#include "ops/statistics_cuda.h"

namespace strobe::op {
namespace {

std::atomic<std::uint64_t> call_count{0};

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03}", fmt::localtime(std::chrono::system_clock::to_time_t(now)),
                     ms);
}

const char* role_text(const Operand& operand) {
  switch (operand.role) {
    case Role::kInput:
      return "in";
    case Role::kOutput:
      return "out";
    case Role::kInOut:
      return "in/out";
  }
  return "";
}

std::string operand_line(const Operand& operand, const TensorView& view) {
  if (!view.given()) return fmt::format("\n  {} {}: not given", role_text(operand), operand.name);
  return fmt::format("\n  {} {}: {} {} at {}", role_text(operand), operand.name, describe(view),
                     to_string(view.device), fmt::ptr(view.data));
}

// Statistics of an operand, or why there are none: they must not end a call that would have run.
std::string statistics_text(const TensorView& view, Stream stream) {
  if (view.device.type == DeviceType::kCpu) return text(statistics_of(view));
  try {
    if (cuda::is_capturing(view.device, stream)) return "no statistics while the stream is captured";
    return text(statistics_on_gpu(view, stream));
  } catch (const Error& error) {
    return fmt::format("no statistics: {}", error.what());
  }
}

}  // namespace

std::uint64_t log_call(const Operator& op, const void* args, Phase phase, Backend backend, Stream stream,
                       std::string_view kernels) {
  const int level = log::level();
  const std::uint64_t number = ++call_count;
  const std::string name = fmt::format("{}{}", op.name, phase == Phase::kPlan ? ".plan" : "");
  std::string record =
      fmt::format("[{}] strobe #{} {} ({})", timestamp(), number, name, strobe::name(backend));
  if (level >= 3) {
    for (const Operand& operand : op.operands)
      if (operand.phase == phase) record += operand_line(operand, operand.of(args));
    for (const Attribute& attribute : op.attributes)
      if (attribute.phase == phase)
        record += fmt::format("\n  {} = {}", attribute.name, attribute.text(args));
    if (!kernels.empty()) record += fmt::format("\n  kernels = {}", kernels);
  }
  log::write(record);
  if (level < 5) return number;
  record = fmt::format("[{}] strobe #{} {} reads", timestamp(), number, name);
  for (const Operand& operand : op.operands)
    if (operand.phase == phase && operand.role != Role::kOutput && operand.of(args).given())
      record += fmt::format("\n  {}: {}", operand.name, statistics_text(operand.of(args), stream));
  log::write(record);
  return number;
}

void log_result(const Operator& op, const void* args, Phase phase, std::uint64_t number, Stream stream) {
  if (log::level() < 5) return;
  std::string record = fmt::format("[{}] strobe #{} {} done", timestamp(), number, op.name);
  for (const Operand& operand : op.operands)
    if (operand.phase == phase && operand.written() && operand.of(args).given())
      record += fmt::format("\n  {}: {}", operand.name, statistics_text(operand.of(args), stream));
  log::write(record);
}

}  // namespace strobe::op
