// Parameters of softmax.cuh, for host and device.
#pragma once

#include "sampling/sampling_params.h"

namespace strobe::kernel {

inline constexpr int kSoftmaxSharedBytes = 320;  // at most

struct SoftmaxParams {
  const char* input;
  char* out;
  int64_t input_stride, out_stride;  // bytes
  int32_t vocab_size;
  RowParameter<float> temperature;
};

}  // namespace strobe::kernel
