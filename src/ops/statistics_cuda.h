// Statistics of tensors in a GPU's memory, for the call log.
#pragma once

#include "op/statistics.h"
#include "strobe/device.h"

namespace strobe::op {

// Of a view on a GPU, when the work enqueued on the stream is done: waits for it. Throws what loading a
// kernel and launching it do; not to be used while the stream is captured.
Statistics statistics_on_gpu(const TensorView& view, Stream stream);

}  // namespace strobe::op
