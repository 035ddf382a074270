// The Python package apache-tvm-ffi from outside of Python: headers that solutions are compiled with, and the
// library that they call.
#pragma once

#include <cstdint>
#include <string>

#include "ffi/tvm_abi.h"

namespace strobe::trace {

struct TvmFfiPackage {
  std::string include;  // the folder that has tvm/ffi/c_api.h
  std::string library;  // libtvm_ffi.so
  std::string digest;   // of the headers
  std::string problem;  // why there is none
};
// Of the library that this process has loaded, else of the interpreter's package. Starts the interpreter.
TvmFfiPackage find_tvm_ffi(const std::string& python);

// Loads the library for everybody to see, unless the process has one. Throws Error(kUnsupported).
void load_tvm_ffi(const TvmFfiPackage& package);

// This thread's error and this thread's streams: libtvm_ffi's where the process has one, else our own.
void set_error(const char* message);
std::string take_error();
void set_cuda_stream(int device, void* stream);
void* cuda_stream(int device);

}  // namespace strobe::trace
