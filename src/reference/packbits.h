// References of the packing of booleans into bits.
#pragma once

#include "op/operator.h"
#include "strobe/quantization.h"

namespace strobe::reference {

void packbits(const PackbitsArgs& args, op::Expected& expected);
void segment_packbits(const SegmentPackbitsArgs& args, op::Expected& expected);

}  // namespace strobe::reference
