// Solutions in C++ and CUDA as functions of this process. No Python takes part.
//
//   const auto run = build(definition, solution);
//   (*run)({strobe_tensor(&x), strobe_tensor(&w), strobe_tensor(&y)});
//
// What can be built:
//
//   cpp   .cc, .cpp, .cxx and .c files, by the host's compiler; binding none or tvm-ffi
//   cuda  the same with .cu files, by nvcc
//   cuda  one raw kernel, by NVRTC: the file of the entry point has a line "// launch: …" (raw_kernel.h)
//
// The entry point "main.cpp::run" is what TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, …) defines. Its arguments are
// the definition's inputs, then its outputs. Headers and library of tvm-ffi are those of the Python package
// apache-tvm-ffi; sources that do not name it are built without.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "strobe/c_api.h"
#include "trace/model.h"

namespace strobe::trace {

// A solution that has been brought into this process, for as long as that lives. Any number of threads may
// call it when the solution itself allows that.
class NativeFunction {
 public:
  // tvm-ffi's convention: 0, or not 0 with the thread's tvm-ffi error set.
  using Call = int (*)(void* self, const StrobeValue* arguments, std::int32_t count, StrobeValue* result);

  NativeFunction(Call call, void* self, std::shared_ptr<const void> owner, bool compiled)
      : call_(call), self_(self), owner_(std::move(owner)), compiled_(compiled) {}

  int call(const StrobeValue* arguments, std::int32_t count, StrobeValue* result) const noexcept {
    return call_(self_, arguments, count, result);
  }
  // Throws Error(kInvalidArgument) with what the solution says when it fails. Tensors are borrowed; on a GPU
  // the work goes to the stream of set_stream, and may go on after the call.
  void operator()(std::span<const StrobeValue> arguments) const;
  void operator()(std::initializer_list<StrobeValue> arguments) const {
    (*this)(std::span(arguments.begin(), arguments.size()));
  }
  bool compiled() const { return compiled_; }  // for this, rather than found in the cache

 private:
  Call call_;
  void* self_;
  std::shared_ptr<const void> owner_;
  bool compiled_;
};

struct BuildOptions {
  std::string python = "python3";  // the interpreter that may have the package apache-tvm-ffi
  std::string architecture;        // of cuda solutions, "sm_90a"; empty: that of the first GPU
};

// Whether `build` is the way to run the solution: its language is cpp or cuda.
bool is_native(const Solution& solution);

// Compiles, or finds the code in the cache of compiled kernels by its key (sources, calling convention,
// compiler options, tvm-ffi's headers, architecture, and the definition's constants for a raw kernel), and
// loads it, which runs the solution's static constructors. Errors: kUnsupported (a language, binding,
// dependency or calling convention that is not taken, no compiler, no package, no GPU, each named), kCompile
// with the first diagnostic and the place of the whole log, or because there is no such entry point.
std::shared_ptr<const NativeFunction> build(const Definition& definition, const Solution& solution,
                                            const BuildOptions& options = {});

// The stream of this thread's calls on a GPU; null: the device's default stream.
void set_stream(int device, void* stream);

}  // namespace strobe::trace
