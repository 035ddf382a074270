// FP64 references of what is done to logits before sampling.
#pragma once

#include "op/operator.h"
#include "strobe/logits.h"

namespace strobe::reference {

void apply_token_bitmask(const TokenBitmaskArgs& args, op::Expected& expected);
void apply_penalties(const PenaltiesArgs& args, op::Expected& expected);

}  // namespace strobe::reference
