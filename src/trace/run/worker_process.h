// A process that runs one function, a solution's or a reference's, on sets of tensors in shared memory: an
// interpreter with worker.py, or the strobe command itself for code that needs none (native_worker.h).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "trace/run/child.h"
#include "trace/run/tensor_sets.h"

namespace strobe::trace {

// The function did not do what was asked of it; `kind` is "exception", "shape", "dtype", or "unsupported"
// when this machine lacks what it needs.
struct Misbehaved {
  std::string kind, text;
};

class WorkerProcess {
 public:
  struct Program {
    std::vector<std::string> argv;
    std::vector<SourceFile> sources;  // written to the process's folder
    Json load;                        // what the worker has to know to load the function
  };

  // Throws Misbehaved or ChildFailure when the program cannot be loaded.
  WorkerProcess(const Program& program, const TensorSets& sets, const ChildLimits& limits,
                std::chrono::milliseconds timeout);
  ~WorkerProcess();

  // The scalars of every set, in the order of the scalar inputs.
  void bind(const std::vector<ScalarValue>& scalars);
  // Calls the function on these sets; the time is the whole request's. Throws Misbehaved or ChildFailure.
  std::chrono::nanoseconds run(const std::vector<int>& sets) { return ask_for("run", sets); }
  std::chrono::nanoseconds run_nothing(const std::vector<int>& sets) { return ask_for("empty", sets); }
  // Brings outputs that the function has returned into the sets' memory.
  void collect();

  Child& child() { return *child_; }
  const std::vector<std::pair<std::string, std::string>>& libs() const { return libs_; }

 private:
  std::chrono::nanoseconds ask_for(const char* what, const std::vector<int>& sets);
  Child::Answer ask(const Json& request);

  const TensorSets& sets_;
  std::chrono::milliseconds timeout_;
  std::string folder_;
  std::unique_ptr<Child> child_;
  std::vector<std::pair<std::string, std::string>> libs_;
};

// The programs of the two kinds of worker.
WorkerProcess::Program reference_program(const std::string& python, const Definition& definition);
WorkerProcess::Program python_program(const std::string& python, const Solution& solution);
WorkerProcess::Program native_program(const std::vector<std::string>& worker, const std::string& python,
                                      const Definition& definition, const Solution& solution);

}  // namespace strobe::trace
