// Runs a solution on a workload, and says what it did.
//
// Three processes. This one is the arbiter: it draws the inputs, takes the time, keeps the inputs' originals
// and compares the outputs. The reference runs in a second process and the solution in a third; neither sees
// the other's memory, and the solution runs only between a request and its answer (outside of that its whole
// session is stopped).
//
// A round: while the solution is stopped, inputs are drawn anew for all sets of tensors and outputs are
// poisoned. Then one request runs the solution on every set, in an order that changes, and the arbiter takes
// the time from the request to the answer, less that of a request for calls of nothing. At the answer the
// session is stopped, at once, and some sets, chosen only then, are compared with the reference. The first
// round is not timed.
//
// On a GPU a solution's process has the device's memory, and times its calls with CUPTI or events: so the
// time comes from a process that is not trusted. What the arbiter's own clock gives for the same calls,
// launches included, stands beside it as wall_latency_ms. Of the first round all calls are enqueued before
// their inputs arrive, so that work outside of the given stream comes to light.
#pragma once

#include <functional>
#include <string>

#include "trace/data_set.h"
#include "trace/run/child.h"
#include "trace/run/compare.h"

namespace strobe::trace {

struct RunOptions {
  std::string python = "python3";
  std::vector<std::string> worker;  // the command that runs solutions without Python (native_worker.h)
  int rounds = 5;                   // timed
  int calls = 50;                   // of a round; fewer where the tensors of so many do not fit the following
  std::size_t tensor_bytes = std::size_t{256} << 20;
  int compared_sets = 3;                                // of a round
  std::chrono::milliseconds timeout{300000};            // of one request to the solution
  std::chrono::milliseconds reference_timeout{300000};  // of one to the reference
  Bounds bounds;
  ChildLimits limits;
  std::uint64_t seed = 0;
  int gpu = -1;          // the device of the tensors; -1: the CPU
  std::string hardware;  // of the evaluation's environment
};

// Error(kUnsupported) when it cannot be run here: a language, a package or a GPU that is missing. Error(kIo)
// when the workload's files cannot be read. Error(kInvalidArgument) when the reference itself fails.
Evaluation evaluate(const DataSet& set, const Definition& definition, const Solution& solution,
                    const Workload& workload, const RunOptions& options);

}  // namespace strobe::trace
