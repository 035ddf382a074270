// FP64 references of the gated activations.
#pragma once

#include "op/operator.h"
#include "strobe/activation.h"

namespace strobe::reference {

// out = f(first half) * second half.
void gated(const ActivationArgs& args, double (*f)(double), op::Expected& expected);

double silu(double x);
double gelu(double x);
double gelu_tanh(double x);

}  // namespace strobe::reference
