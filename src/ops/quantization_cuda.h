// Packing of booleans on NVIDIA GPUs.
#pragma once

#include "strobe/quantization.h"

namespace strobe::op {

void run_packbits_cuda(const PackbitsArgs& args, const Launch& launch);
void run_segment_packbits_cuda(const SegmentPackbitsArgs& args, const Launch& launch);

}  // namespace strobe::op
