// Kernel of one row: softmax, renormalisation, mask or draw behind the filters of strobe/sampling.h.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

struct SamplingRow {
  const void* input;
  void* out = nullptr;  // of a row that is written
  int64_t vocab_size;
  Dtype dtype;
  bool logits;  // rather than probabilities
  bool mask;    // writes logits rather than probabilities
  bool joint;
  int64_t top_k;  // 0: all
  float top_p;    // 1: all
  float min_p;    // 0: all
  float factor;   // of logits: log2(e) / temperature; NaN: a bad row
  uint64_t random = 0;
};

}  // namespace strobe::cpu

// The token of a row that is drawn from (`out` is null), -1 of a bad one.
STROBE_CPU_KERNEL(int64_t, sample_row, (const SamplingRow& row))
