// Calls that the log has kept (call_dump.h), made again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "op/check.h"
#include "op/routine.h"

namespace strobe::op {

struct DumpedCall {
  std::string folder;
  const Operator* op = nullptr;
  Phase phase = Phase::kRun;
  Problem problem;                        // on the CPU, with the strides of the dump; outputs are poisoned
  std::map<std::string, Tensor> outputs;  // what the call wrote
  bool completed = false;                 // whether it came to its end
};

// The folders of the calls under `path`, in the order in which they were made: itself, or those it contains.
// Throws Error(kIo) when there are none.
std::vector<std::string> find_dumped_calls(const std::string& path);

// Throws Error(kIo) that names the file and what is wrong with it, and Error(kInvalidArgument) when this
// library has no such operator or the arguments contradict its declaration.
DumpedCall load_dumped_call(const std::string& folder);

struct ReplayResult {
  std::optional<bool> same_bits;            // as the dumped outputs; nothing without them
  std::optional<CheckResult> against_dump;  // within the operator's tolerance
  std::optional<CheckResult> against_fp64;  // sampled rows; nothing of plan
};

// Makes the call on `device`. Throws what the call throws.
ReplayResult replay(DumpedCall& call, Device device);

}  // namespace strobe::op
