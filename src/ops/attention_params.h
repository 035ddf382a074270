// What a plan and a run put into the parameters of the kernels under kernels/attention, on any device.
#pragma once

#include "attention/attention_params.h"
#include "ops/attention_batch.h"

namespace strobe::ops {

// Of a plan; a run has factors beside them.
struct PlannedScales {
  float qk = 1, v = 1;
};

// Shapes, dtypes and position masks.
PlannedScales set_planned(const AttentionShape& shape, const AttentionOptions& options,
                          kernel::AttentionParams& params);

// Addresses and strides of a run's tensors, and the scales.
void set_tensors(const AttentionTensors& tensors, const PlannedScales& scales,
                 kernel::AttentionParams& params);

}  // namespace strobe::ops
