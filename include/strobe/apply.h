// Calls that run the fastest kernel known for their sizes and hardware.
//
// A data set in the FlashInfer-Trace format (docs/trace.md) has definitions of kernels, solutions to them,
// and traces: how fast each solution was, for which sizes, on which hardware. Apply makes a table of them and
// routes calls by it:
//
//   Apply apply({.data_set = "my/data_set"});
//   const AppliedDefinition norm = apply.definition("rmsnorm_h4096");
//   if (!norm({strobe_tensor(&x), strobe_tensor(&w), strobe_tensor(&y)}, stream)) my_norm(x, w, y, stream);
//
// Traces count that passed, on hardware of the same name, by solutions that run here; the fastest wins. A
// call of sizes that have been measured finds its solution in some tens of nanoseconds, without lock or
// allocation, so that it may be captured in a CUDA graph: all code that wins somewhere was built when Apply
// was made. For other sizes `on_miss` says what happens, and what it says is kept.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "strobe/c_api.h"
#include "strobe/device.h"
#include "strobe/export.h"

namespace strobe::inline v1 {

// For sizes that nobody has measured.
enum class ApplyMiss : std::uint8_t {
  kFallback,  // no solution: the caller goes on by itself
  kNearest,   // that of the nearest sizes: in each axis at most nearest_octaves away, |log2(a / b)|
  kBest,      // the one that is the fastest at more of the measured sizes than any other
};

struct STROBE_API ApplyOptions {
  std::string data_set;  // the folder
  ApplyMiss on_miss = ApplyMiss::kFallback;
  // The number of pages of a cache (num_pages) is passed over, as it says nothing of the work.
  double nearest_octaves = 1;
  // Of traces, beyond what their benchmark has let pass.
  double max_absolute_error = std::numeric_limits<double>::infinity();
  double max_relative_error = std::numeric_limits<double>::infinity();
  // Whose traces count; empty: of the device on which a call's tensors are, by the name that its driver or
  // the kernel of the system gives it.
  std::string hardware;

  // By STROBE_DATASET_PATH (or FIB_DATASET_PATH) and STROBE_APPLY_ON_MISS. Throws Error(kInvalidArgument)
  // when there is no data set or another value than is allowed.
  static ApplyOptions from_environment();
};

// A kernel in tvm-ffi's calling convention, to which StrobeValue belongs: 0, or -1 and tvm-ffi's error set.
using StrobeKernel = int (*)(void* self, const StrobeValue* arguments, std::int32_t count,
                             StrobeValue* result);

// The calls of one definition; none has a solution where it is made without one. Cheap to copy; any number of
// threads may call it, as far as the solutions allow that.
class STROBE_API AppliedDefinition {
 public:
  // Runs the solution for these arguments: the definition's inputs in order, then its outputs, which are
  // written. False: nothing has run and nothing was written, since there is no solution for them. Tensors of
  // another dtype or shape than the definition's, with gaps, or on several devices have none, either;
  // Apply::explain says why.
  //
  // Throws Error(kInvalidArgument) when the number of arguments is none of the definition's, and with the
  // solution's name when the solution itself fails.
  bool operator()(std::span<const StrobeValue> arguments, Stream stream = {}) const;
  bool operator()(std::initializer_list<StrobeValue> arguments, Stream stream = {}) const {
    return (*this)(std::span(arguments.begin(), arguments.size()), stream);
  }

 private:
  friend class Apply;
  std::shared_ptr<const void> owner_;
  const void* definition_ = nullptr;
};

class STROBE_API Apply {
 public:
  // Reads the data set and builds the solutions in C++ and CUDA that win on this machine; files and solutions
  // with faults are left out, and `explain` names them. Throws Error(kIo) when there is no such folder.
  explicit Apply(const ApplyOptions& options = ApplyOptions::from_environment());

  // A name that the data set does not have gives a definition for which no call has a solution.
  AppliedDefinition definition(std::string_view name) const;

  // Makes a function of this program the code of a solution of the data set, in whatever language that is.
  // Belongs before the first call. Throws Error(kInvalidArgument) when there is no solution of that name.
  void provide(std::string_view solution, StrobeKernel kernel, void* self = nullptr);

  // What has been called how often, what it was routed to and why, as text and as JSON. The JSON also goes to
  // the file that STROBE_APPLY_STATISTICS names, when the last copy of this and of its definitions is gone.
  std::string explain() const;
  std::string statistics() const;

 private:
  std::shared_ptr<void> runtime_;
};

}  // namespace strobe::inline v1
