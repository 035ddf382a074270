// A row of process_logits.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

struct LogitsRow {
  const void* input;
  void* out;
  int64_t vocab_size;
  Dtype dtype;
  bool bad;               // becomes NaN
  const int32_t* counts;  // may be null, as the masks
  const uint32_t* prompt_mask;
  const uint32_t* bitmask;
  float repetition, frequency, presence;
};

}  // namespace strobe::cpu

STROBE_CPU_KERNEL(void, process_logits_row, (const LogitsRow& row))
