// Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011), for host
// and device.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

struct PhiloxBlock {
  uint32_t word[4];
};

STROBE_DEVICE PhiloxBlock philox(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
  constexpr int kRounds = 10;
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kKeyStep0 = 0x9E3779B9, kKeyStep1 = 0xBB67AE85;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter.word[0], product1 = kMultiplier1 * counter.word[2];
    counter = {
        {static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(product0)}};
    key0 += kKeyStep0;
    key1 += kKeyStep1;
  }
  return counter;
}

// The random bits of number `draw` of a row: words 2 * draw and 2 * draw + 1 of the stream of (seed, offset,
// row), lower word first.
STROBE_DEVICE uint64_t random_bits(uint64_t seed, uint64_t offset, uint32_t row, uint32_t draw) {
  const PhiloxBlock block =
      philox({{static_cast<uint32_t>(offset), static_cast<uint32_t>(offset >> 32), row, draw / 2}},
             static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  const bool second = draw % 2 != 0;
  return (second ? block.word[2] : block.word[0]) |
         static_cast<uint64_t>(second ? block.word[3] : block.word[1]) << 32;
}

// floor(random / 2^64 * range): uniform in [0, range) to range / 2^64.
STROBE_DEVICE uint64_t scaled_to(uint64_t random, uint64_t range) {
#ifdef __CUDACC_RTC__
  return __umul64hi(random, range);
#else
  return static_cast<uint64_t>((static_cast<unsigned __int128>(random) * range) >> 64);
#endif
}

}  // namespace strobe::kernel
