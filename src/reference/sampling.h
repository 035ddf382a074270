// References of softmax, filters and draws: sorted rows and plain sums. Weights and thresholds are integers,
// so what is kept and what is drawn is exact; probabilities are in FP64.
#pragma once

#include "op/operator.h"
#include "strobe/sampling.h"

namespace strobe::reference {

void softmax(const SoftmaxArgs& args, op::Expected& expected);
void sampling_from_probs(const SamplingFromProbsArgs& args, op::Expected& expected);
void sampling_from_logits(const SamplingFromLogitsArgs& args, op::Expected& expected);
void renorm_probs(const RenormProbsArgs& args, op::Expected& expected);
void mask_logits(const MaskLogitsArgs& args, op::Expected& expected);

}  // namespace strobe::reference
