// Names in the files of a dumped call, as call_dump.cc writes and call_replay.cc reads them.
#pragma once

#include <string_view>

#include "op/operator.h"

namespace strobe::op::dump_format {

inline constexpr int kVersion = 1;
inline constexpr const char* kDescription = "call.json";
inline constexpr const char* kInputs = "inputs.safetensors";
inline constexpr const char* kOutputs = "outputs.safetensors";

constexpr std::string_view role_name(Role role) {
  constexpr std::string_view kNames[] = {"in", "out", "in/out"};
  return kNames[static_cast<int>(role)];
}
constexpr std::string_view phase_name(Phase phase) { return phase == Phase::kPlan ? "plan" : "run"; }

}  // namespace strobe::op::dump_format
