// Frequencies as fixed-point turns: what lets angles be reduced exactly at any position.
#pragma once

#include <cstdint>

#include "strobe/rope.h"

namespace strobe::cpu {

// How far each pair turns from one position to the next, in turns modulo 1 as fractions of 2^64: position *
// turns[i], in wrapping arithmetic, is the angle modulo one turn. kMaxRotaryDim / 2 values, zero beyond
// rotary_dim / 2. Kept by the calling thread for its next call of the same form; valid until its next call of
// another.
const std::uint64_t* rope_turns(int rotary_dim, const RopeScaling& scaling);

}  // namespace strobe::cpu
