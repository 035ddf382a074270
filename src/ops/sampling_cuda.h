// Sampling on NVIDIA GPUs: how its kernels are cut up.
#pragma once

#include <cstdint>

#include "cuda/architecture.h"
#include "strobe/dtype.h"

namespace strobe::op {

struct SamplingShape {
  Dtype dtype = Dtype::kF32;
  std::int64_t rows = 0, vocab_size = 0;
  int vector = 1;  // elements that an access may have
};

struct SamplingChoice {
  int vector = 1, cluster = 1;
  int warp_steps = 0;      // vectors of a lane
  bool keeps_row = false;  // in shared memory
  int shared_bytes = 0;
};

SamplingChoice choose_sampling(const SamplingShape& shape, cuda::Architecture architecture, int sm_count);

}  // namespace strobe::op
