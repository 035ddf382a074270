// The code of solutions in C++ and CUDA.
#pragma once

#include "trace/apply/runtime.h"

namespace strobe::trace {

// Builds and loads the solution. Throws Error that says why it cannot be done here.
NativeCode native_code(const Definition& definition, const Solution& solution);

// Calls it on the stream, where the device is a GPU. Throws Error(kInvalidArgument) that names the solution
// and has its words.
void call_native(const NativeCode& code, const std::string& solution, std::span<const StrobeValue> arguments,
                 Device device, Stream stream);

}  // namespace strobe::trace
