// A process that runs one function, a solution's or a reference's, on sets of tensors in shared memory: an
// interpreter with worker.py, or the strobe command itself for code that needs none (native_worker.h).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jit/work_folder.h"
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

  // The scalars of every set, in the order of the scalar inputs.
  void bind(const std::vector<ScalarValue>& scalars);
  struct Times {
    std::chrono::nanoseconds request;  // from its first byte to the answer's last
    std::vector<double> gpu_ms;        // of the calls on a GPU, as the process says
  };
  // Calls the function on these sets. Throws Misbehaved or ChildFailure.
  Times run(const std::vector<int>& sets) { return ask_for("run", sets); }
  Times run_nothing(const std::vector<int>& sets) { return ask_for("empty", sets); }
  // On a GPU, where nothing is timed: inputs arrive only after the calls have been enqueued; the GPU waits
  // before each call; or calls without more, one after the other.
  void run_late(const std::vector<int>& sets) { ask_for("late", sets); }
  void run_waiting(const std::vector<int>& sets) { ask_for("waiting", sets); }
  Times run_through(const std::vector<int>& sets) { return ask_for("through", sets); }
  // Brings outputs that the function has returned into the sets' memory.
  void collect();

  Child& child() { return *child_; }
  const std::vector<std::pair<std::string, std::string>>& libs() const { return libs_; }

 private:
  Times ask_for(const char* what, const std::vector<int>& sets);
  Child::Answer ask(const Json& request);

  const TensorSets& sets_;
  std::chrono::milliseconds timeout_;
  jit::WorkFolder folder_;
  std::unique_ptr<Child> child_;  // ends before its folder
  std::vector<std::pair<std::string, std::string>> libs_;
};

inline constexpr int kNoGpu = -1;

// The programs of the two kinds of worker; `gpu` is the device of the tensors, or kNoGpu. Error(kUnsupported)
// for Python on a GPU that does not use torch; a reference runs on the CPU then.
WorkerProcess::Program reference_program(const std::string& python, const Definition& definition, int gpu);
WorkerProcess::Program python_program(const std::string& python, const Solution& solution, int gpu);
WorkerProcess::Program native_program(const std::vector<std::string>& worker, const std::string& python,
                                      const Definition& definition, const Solution& solution, int gpu);

}  // namespace strobe::trace
