#include "op/call_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>

#include "core/log.h"
#include "core/read.h"

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

}  // namespace

std::string statistics(const TensorView& view) {
  if (view.device.type != DeviceType::kCpu) return "";
  double low = std::numeric_limits<double>::infinity(), high = -low, sum = 0;
  std::int64_t finite = 0, nan = 0, inf = 0;
  for_each_element(view, [&](double value) {
    if (std::isnan(value)) {
      ++nan;
    } else if (std::isinf(value)) {
      ++inf;
    } else {
      ++finite;
      sum += value;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  });
  if (finite == 0) return fmt::format("no finite element, nan {} inf {}", nan, inf);
  return fmt::format("min {:.6g} max {:.6g} mean {:.6g} nan {} inf {}", low, high,
                     sum / static_cast<double>(finite), nan, inf);
}

void log_call(const Operator& op, const void* args, Phase phase, Backend backend) {
  const int level = log::level();
  std::string record = fmt::format("[{}] strobe #{} {}{} ({})", timestamp(), ++call_count, op.name,
                                   phase == Phase::kPlan ? ".plan" : "", strobe::name(backend));
  if (level >= 3) {
    for (const Operand& operand : op.operands) {
      if (operand.phase != phase) continue;
      const TensorView& view = operand.of(args);
      record += operand_line(operand, view);
      if (level >= 5 && view.given() && operand.role != Role::kOutput) record += ", " + statistics(view);
    }
    for (const Attribute& attribute : op.attributes)
      if (attribute.phase == phase)
        record += fmt::format("\n  {} = {}", attribute.name, attribute.text(args));
  }
  log::write(record);
}

void log_result(const Operator& op, const void* args, Phase phase) {
  if (log::level() < 5) return;
  std::string record = fmt::format("[{}] strobe {} done", timestamp(), op.name);
  for (const Operand& operand : op.operands)
    if (operand.phase == phase && operand.written() && operand.of(args).given())
      record += operand_line(operand, operand.of(args)) + ", " + statistics(operand.of(args));
  log::write(record);
}

}  // namespace strobe::op
