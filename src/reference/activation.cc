#include "reference/activation.h"

#include <cmath>
#include <numbers>

#include "reference/rows.h"

namespace strobe::reference {

void gated(const ActivationArgs& args, double (*f)(double), op::Expected& expected) {
  for_each_row(args.input, expected[0], [&](const Row& input, double* out) {
    const std::int64_t hidden = input.size / 2;
    for (std::int64_t j = 0; j < hidden; ++j) out[j] = f(input[j]) * input[hidden + j];
  });
}

double silu(double x) { return x / (1 + std::exp(-x)); }
double gelu(double x) { return x / 2 * std::erfc(-x / std::numbers::sqrt2); }
double gelu_tanh(double x) {
  return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

}  // namespace strobe::reference
