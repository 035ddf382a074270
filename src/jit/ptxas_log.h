// What the assembler says about a kernel.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace strobe::jit {

// Read from the log of `ptxas -v`. -1: the log does not say.
struct KernelFacts {
  int registers = -1;     // of a thread
  int shared_bytes = -1;  // static, of a block
  int stack_bytes = -1;   // stack frame of a thread
  int spill_stores = -1;  // bytes
  int spill_loads = -1;   // bytes
  int barriers = -1;
  // Lines that should not be there: warnings of compiler and assembler, among them C75xx (wgmma made serial).
  std::vector<std::string> warnings;

  // Spills, a stack frame or warnings: a built-in kernel must have none.
  bool clean() const { return warnings.empty() && stack_bytes <= 0 && spill_stores <= 0 && spill_loads <= 0; }
  std::string text() const;  // "40 registers, 0 bytes of shared memory, …"
};

KernelFacts read_ptxas_log(std::string_view log);

// The first line that reports an error, or the first line; empty when the log is.
std::string first_diagnostic(std::string_view log);

}  // namespace strobe::jit
