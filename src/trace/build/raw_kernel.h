// A cuda solution that is one kernel and nothing else, compiled by NVRTC.
//
// The entry point is an extern "C" __global__ function with one parameter, a struct Arguments that Strobe
// writes from the definition: a pointer for each input (const) and output, a value for each scalar, then
// `long long` for each variable axis, all by their names. Constant axes are constexpr long long. 16-bit and
// 8-bit floats are pointers to unsigned integers of their size. The file says how it is launched, in
// expressions of axes (constraint.h):
//
//   // launch: grid(batch_size) block(256)
//   extern "C" __global__ void rmsnorm(const Arguments a) { … a.hidden_states[blockIdx.x * hidden_size] … }
//
// grid and block have one to three extents; shared(bytes) asks for dynamic shared memory.
#pragma once

#include <memory>

#include "trace/build/builder.h"

namespace strobe::trace {

// How a raw kernel is launched; none where the file has no such line.
struct LaunchLine {
  std::vector<std::string> grid, block;
  std::string shared = "0";
};
std::optional<LaunchLine> launch_line(std::string_view source);  // Error(kCompile) when it is malformed

// The text before the solution's own: constants and Arguments.
std::string raw_kernel_prologue(const Definition& definition);

std::shared_ptr<const NativeFunction> build_raw_kernel(const Definition& definition, const Solution& solution,
                                                       const SourceFile& file, const LaunchLine& launch,
                                                       const BuildOptions& options);

}  // namespace strobe::trace
