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
  int compared_sets = 3;                      // of a round
  std::chrono::milliseconds timeout{300000};  // of one request
  Bounds bounds;
  ChildLimits limits;
  std::uint64_t seed = 0;
  std::string hardware;  // of the evaluation's environment
};

// Error(kUnsupported) when the arbiter cannot judge it: a language that it cannot run, an operator whose
// outputs are random. Error(kIo) when the workload's files cannot be read. Error(kInvalidArgument) when the
// reference itself fails.
Evaluation evaluate(const DataSet& set, const Definition& definition, const Solution& solution,
                    const Workload& workload, const RunOptions& options);

}  // namespace strobe::trace
