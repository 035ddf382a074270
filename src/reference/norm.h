// FP64 references of the norms.
#pragma once

#include "op/operator.h"
#include "strobe/norm.h"

namespace strobe::reference {

void rmsnorm(const RmsNormArgs& args, op::Expected& expected);
void rmsnorm_quant(const RmsNormQuantArgs& args, op::Expected& expected);
void fused_add_rmsnorm(const FusedAddRmsNormArgs& args, op::Expected& expected);
void fused_add_rmsnorm_quant(const FusedAddRmsNormQuantArgs& args, op::Expected& expected);
void layernorm(const LayerNormArgs& args, op::Expected& expected);
void layernorm_quant(const LayerNormQuantArgs& args, op::Expected& expected);

}  // namespace strobe::reference
