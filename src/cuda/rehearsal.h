// Runs the host side of CUDA calls without a GPU: while a Rehearsal lives, in its thread only, every CUDA
// device has the facts of a typical one of the architecture, and launch() returns at once. jit/rehearsal.h
// builds on it to find out which kernels a workload needs.
#pragma once

#include "cuda/device.h"

namespace strobe::cuda {

class Rehearsal {
 public:
  explicit Rehearsal(Architecture architecture);
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  const DeviceFacts& facts() const { return facts_; }

 private:
  DeviceFacts facts_;
  const Rehearsal* outer_;
};

// The rehearsal of this thread; null in real life.
const Rehearsal* rehearsal();

}  // namespace strobe::cuda
