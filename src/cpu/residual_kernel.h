// Kernel of one row: a draw from what a target's probabilities leave behind a refused draft.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

struct ResidualRow {
  const void* target;
  const void* draft = nullptr;  // of the dtype of `target`; null: nothing is taken away
  int64_t vocab_size;
  Dtype dtype;
  const int32_t* refused = nullptr;  // tokens that are not drawn
  int64_t refused_count = 0;
  uint64_t random = 0;
};

}  // namespace strobe::cpu

// The token; -1 of a bad row.
STROBE_CPU_KERNEL(int64_t, draw_residual, (const ResidualRow& row))
