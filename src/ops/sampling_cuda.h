// Sampling on NVIDIA GPUs: how its kernels are cut up.
#pragma once

#include <cstdint>

#include "cuda/architecture.h"
#include "ops/sampling_call.h"
#include "sampling/sampling_params.h"
#include "strobe/dtype.h"
#include "strobe/tensor.h"

namespace strobe::op {

struct SamplingShape {
  Dtype dtype = Dtype::kF32;
  std::int64_t rows = 0, vocab_size = 0;
  int vector = 1;  // elements that an access may have
};

struct SamplingChoice {
  int vector = 1, cluster = 1;
  int segments = 0, segment_batches = 1, segment_columns = 0;
  int list_capacity = 0;  // tokens
  int shared_bytes = 0;
};

SamplingChoice choose_sampling(const SamplingShape& shape, cuda::Architecture architecture, int sm_count);
// The same with one block to a row, or `cluster` where few rows leave room for them.
SamplingChoice choose_rows(const SamplingShape& shape, cuda::Architecture architecture, int sm_count,
                           int cluster);
kernel::RowNumber row_number(const TensorView& numbers, std::int64_t value);

// How softmax.cuh is cut up; no steps: it cannot hold such rows.
struct SoftmaxChoice {
  int steps = 0, cluster = 1;
};

SoftmaxChoice choose_softmax(const SamplingShape& shape, cuda::Architecture architecture, int sm_count);
bool run_softmax_cuda(const SamplingCall& call, const SamplingShape& shape, const Launch& launch);

std::int64_t row_pitch(const TensorView& view);  // bytes
kernel::RowCut row_cut(const TensorView& input, const SamplingChoice& choice);

}  // namespace strobe::op
