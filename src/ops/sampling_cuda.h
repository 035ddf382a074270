// Sampling on NVIDIA GPUs: how its kernels are cut up.
#pragma once

#include <cstdint>

#include "cuda/architecture.h"
#include "strobe/dtype.h"

namespace strobe::op {

struct SamplingShape {
  Dtype dtype = Dtype::kF32;
  std::int64_t rows = 0, vocab_size = 0;
  int vector = 1;      // elements that an access may have
  bool keeps = false;  // the row is looked at several times
};

struct SamplingChoice {
  int vector = 1, cluster = 1;
  int segments = 0, segment_batches = 1, segment_columns = 0;
  int segments_ahead = 0;  // that a warp brings to L2
  bool keeps_row = false;  // in shared memory
  int list_capacity = 0;   // tokens
  int shared_bytes = 0;
};

SamplingChoice choose_sampling(const SamplingShape& shape, cuda::Architecture architecture, int sm_count);

}  // namespace strobe::op
