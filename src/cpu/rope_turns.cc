#include "cpu/rope_turns.h"

#include <array>
#include <cmath>
#include <numbers>

#include "core/rope_frequency.h"

namespace strobe::cpu {

const std::uint64_t* rope_turns(int rotary_dim, const RopeScaling& scaling) {
  struct Table {
    int rotary_dim = -1;
    RopeScaling scaling;
    std::array<std::uint64_t, kMaxRotaryDim / 2> turns;
  };
  static thread_local Table table;
  if (table.rotary_dim == rotary_dim && table.scaling == scaling) return table.turns.data();
  table.turns.fill(0);
  for (int pair = 0; pair < rotary_dim / 2; ++pair) {
    const double turns = rope_frequency(pair, rotary_dim, scaling) / (2 * std::numbers::pi);
    table.turns[static_cast<std::size_t>(pair)] =
        static_cast<std::uint64_t>(std::ldexp(turns - std::floor(turns), 64));
  }
  table.rotary_dim = rotary_dim;
  table.scaling = scaling;
  return table.turns.data();
}

}  // namespace strobe::cpu
