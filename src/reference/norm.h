// FP64 references of the norms.
#pragma once

#include "op/operator.h"
#include "strobe/norm.h"

namespace strobe::reference {

void rmsnorm(const RmsNormArgs& args, op::Expected& expected);

}  // namespace strobe::reference
