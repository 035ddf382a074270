// Programs that are run for their result, without a shell.
#pragma once

#include <string>
#include <vector>

namespace strobe::jit {

struct ProcessResult {
  bool succeeded = false;  // it ran, and ended with exit status 0
  std::string problem;     // why not: it cannot be started, its exit status, the signal that killed it
  std::string output;      // stdout and stderr, in order
};

// Runs argv[0] (a path, or a name that is looked for in PATH) with these arguments, nothing on stdin, and
// LC_ALL=C, so that its words are those of every machine.
ProcessResult run_process(const std::vector<std::string>& argv);

// The file of a program that run_process would start; empty when there is none.
std::string find_program(const std::string& name);

}  // namespace strobe::jit
