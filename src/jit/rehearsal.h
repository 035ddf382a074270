// Finds out which kernels host code asks for, without a GPU and without compiling any.
#pragma once

#include <vector>

#include "cuda/rehearsal.h"
#include "jit/kernel_source.h"

namespace strobe::jit {

// While it lives, in its thread only, CUDA operators run their host side as on a device of that architecture,
// and `get` notes what it is asked for.
class Rehearsal {
 public:
  explicit Rehearsal(cuda::Architecture architecture);
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  void note(const Variant& variant);
  // What was asked for, each kernel once, in order.
  const std::vector<Variant>& variants() const { return variants_; }

 private:
  cuda::Rehearsal device_;
  Rehearsal* outer_;
  std::vector<Variant> variants_;
};

// The rehearsal of this thread; null in real life.
Rehearsal* rehearsal();

}  // namespace strobe::jit
