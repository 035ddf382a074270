// Gated activations on NVIDIA GPUs.
#pragma once

#include "activation/activation_function.h"
#include "strobe/activation.h"

namespace strobe::op {

void run_activation_cuda(kernel::ActivationFunction function, const ActivationArgs& args,
                         const Launch& launch);

// Vectors that a thread does: enough threads for every SM come first, then bytes under way in each.
int choose_activation_items(std::int64_t vectors, int sm_count);

}  // namespace strobe::op
