#include "reference/norm.h"

#include <cmath>

#include "reference/rows.h"

namespace strobe::reference {

void rmsnorm(const RmsNormArgs& args, op::Expected& expected) {
  for_each_row(args.input, expected[0], [&](Row input, double* out) {
    double squares = 0;
    for (std::int64_t j = 0; j < input.size; ++j) squares += input[j] * input[j];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(input.size) + static_cast<double>(args.eps));
    for (std::int64_t j = 0; j < input.size; ++j)
      out[j] = input[j] * scale * (read(args.weight, j) + (args.gemma ? 1 : 0));
  });
}

}  // namespace strobe::reference
