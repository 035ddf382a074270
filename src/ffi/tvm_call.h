// Calls in tvm-ffi's convention: errors and streams go through the libtvm_ffi of the calling process, whose
// functions are looked up at the first call.
#pragma once

#include <atomic>

#include "ffi/function.h"
#include "ffi/tvm_abi.h"

namespace strobe::ffi::tvm {

// libtvm_ffi's functions that Strobe uses.
struct Library {
  void (*get_version)(Version* version);
  void (*set_error)(const char* kind, const char* message);
  void* (*get_stream)(std::int32_t device_type, std::int32_t device_index);
  int (*make_string)(const ByteArray* text, StrobeValue* result);
  int (*make_function)(void* self, SafeCall call, void (*deleter)(void* self), void** function);
};

// Throws Error(kUnsupported) where the process has no libtvm_ffi, or one whose ABI is not 0.1.
const Library& library();

// Raises the exception being handled as tvm-ffi's error, which tvm-ffi's languages see as their own: -1.
int raise_current() noexcept;

// What an export returns whose work is `body`: 0, or what raise_current() does of its exception.
template <class Body>
int guarded(Body body) noexcept {
  try {
    body();
    return 0;
  } catch (...) {
    return raise_current();
  }
}

// Calls a bound function; the result is a plan's workspace in bytes, or nothing. On a GPU's tensors it runs
// in the device's current stream, which tvm-ffi takes from the caller's framework, or in the stream given as
// one argument more than the function has.
int call(const Function& function, const StrobeValue* args, std::int32_t count, StrobeValue* result) noexcept;

// Calls an operator by all arguments of its declaration, in its order: what an exported __tvm_ffi_<operator>
// does. `bound` is that export's own place for what it needs to find only once.
int call_operator(const char* name, std::atomic<const Function*>& bound, const StrobeValue* args,
                  std::int32_t count, StrobeValue* result) noexcept;

}  // namespace strobe::ffi::tvm
