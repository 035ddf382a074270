// Gated activations on NVIDIA GPUs.
#pragma once

#include "activation/activation_function.h"
#include "strobe/activation.h"

namespace strobe::op {

void run_activation_cuda(kernel::ActivationFunction function, const ActivationArgs& args,
                         const Launch& launch);

}  // namespace strobe::op
