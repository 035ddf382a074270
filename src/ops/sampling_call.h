// What softmax, renormalisation, masks and draws have in common, for their backends.
#pragma once

#include "op/operator.h"
#include "sampling/sampling_kind.h"
#include "strobe/sampling.h"

namespace strobe::op {

struct SamplingCall {
  std::string_view op_name;
  kernel::TokenSource source;
  kernel::TokenTask task;
  const TensorView& input;
  const TensorView* out = nullptr;  // of kRenorm and kMask
  const TensorView* samples = nullptr;
  const TensorView* valid = nullptr;
  const TensorView* indices = nullptr;
  const TokenFilter& filter;
  float temperature = 1;
  const TensorView* temperature_rows = nullptr;
  const RandomNumbers* random = nullptr;

  std::int64_t rows() const { return samples != nullptr ? samples->shape[0] : input.shape[0]; }
  std::int64_t vocab_size() const { return input.shape[1]; }
};

void run_sampling_cpu(const SamplingCall& call);
void run_sampling_cuda(const SamplingCall& call, const Launch& launch);

}  // namespace strobe::op
