// Seeds and offsets of rows on the CPU.
#pragma once

#include "sampling/philox.h"
#include "strobe/sampling.h"

namespace strobe::op {

inline std::uint64_t at_row(const TensorView& numbers, std::int64_t value, std::int64_t row) {
  if (!numbers.given()) return static_cast<std::uint64_t>(value);
  return static_cast<std::uint64_t>(numbers.at<std::int64_t>(numbers.shape[0] > 1 ? row : 0));
}

// The random bits of number `draw` of a row.
inline std::uint64_t random_of(const RandomNumbers& random, std::int64_t row, std::uint32_t draw = 0) {
  const bool own_seed = random.seeds.given() && random.seeds.shape[0] > 1;
  return kernel::random_bits(at_row(random.seeds, random.seed, row),
                             at_row(random.offsets, random.offset, row),
                             own_seed ? 0 : static_cast<std::uint32_t>(row), draw);
}

}  // namespace strobe::op
