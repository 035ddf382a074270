#include "core/rope_frequency.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/message.h"

namespace strobe::inline v1 {

double rope_frequency(int pair, int rotary_dim, const RopeScaling& scaling) {
  const double frequency = std::pow(static_cast<double>(scaling.theta), -2.0 * pair / rotary_dim);
  if (!scaling.llama31) return frequency / static_cast<double>(scaling.scale);
  const double low = static_cast<double>(scaling.low_freq_factor),
               high = static_cast<double>(scaling.high_freq_factor);
  const double turns = scaling.old_context_len * frequency / (2 * std::numbers::pi);
  const double smooth = std::clamp((turns - low) / (high - low), 0.0, 1.0);
  return smooth * frequency + (1 - smooth) * frequency / static_cast<double>(scaling.scale);
}

std::vector<float> rope_inv_freq(int rotary_dim, const RopeScaling& scaling) {
  if (rotary_dim < 0 || rotary_dim > kMaxRotaryDim || rotary_dim % 2 != 0)
    fail(ErrorKind::kInvalidArgument,
         "rope_inv_freq: rotary_dim: expected an even number from 0 to {}, got {}", kMaxRotaryDim,
         rotary_dim);
  std::vector<float> frequencies(static_cast<std::size_t>(rotary_dim / 2));
  for (int pair = 0; pair < rotary_dim / 2; ++pair)
    frequencies[static_cast<std::size_t>(pair)] =
        static_cast<float>(rope_frequency(pair, rotary_dim, scaling));
  return frequencies;
}

}  // namespace strobe::inline v1
