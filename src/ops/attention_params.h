// What a plan and a run put into the parameters of the kernels under kernels/attention, on any device.
#pragma once

#include "attention/attention_params.h"
#include "ops/attention_batch.h"

namespace strobe::ops {

// Shapes, dtypes, scales and position masks.
void set_planned(const AttentionShape& shape, const AttentionOptions& options, kernel::AttentionParams& params);

// Addresses and strides of a run's tensors.
void set_tensors(const AttentionTensors& tensors, kernel::AttentionParams& params);

}  // namespace strobe::ops
