// A process that runs one Python function, a solution's or a reference's, on sets of tensors in shared
// memory.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "trace/run/child.h"
#include "trace/run/tensor_sets.h"

namespace strobe::trace {

// The function did not do what was asked of it; `kind` is "exception", "shape" or "dtype".
struct Misbehaved {
  std::string kind, text;
};

class PythonProcess {
 public:
  struct Program {
    std::vector<SourceFile> sources;
    std::string file, symbol;
    bool destination_passing = true;
    bool torch = false;  // tensors of torch, else arrays of numpy
  };
  // Throws Misbehaved or ChildFailure when the program cannot be loaded.
  PythonProcess(const std::string& python, const Program& program, const TensorSets& sets,
                const ChildLimits& limits, std::chrono::milliseconds timeout);
  ~PythonProcess();

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

// Whether a source imports torch, or torch is among the dependencies.
bool uses_torch(const std::vector<SourceFile>& sources, const std::vector<std::string>& dependencies);

}  // namespace strobe::trace
