// Parameters of speculative.cuh, for host and device.
#pragma once

#include "sampling/sampling_params.h"
#include "sampling/speculative_kind.h"

namespace strobe::kernel {

// Integers of 32 or 64 bits.
struct TokenArray {
  const char* data;
  int32_t wide;

  STROBE_DEVICE int64_t operator[](int64_t i) const {
    return wide != 0 ? reinterpret_cast<const int64_t*>(data)[i] : reinterpret_cast<const int32_t*>(data)[i];
  }
};

// Rows [request, place, vocab_size] of probabilities.
struct ProbRows {
  const char* data;
  int64_t request_stride, place_stride;  // bytes

  STROBE_DEVICE const char* row(int64_t request, int64_t place) const {
    return data + request * request_stride + place * place_stride;
  }
};

struct SpeculativeParams {
  RowCut cut;  // of a row; its input is not looked at
  ProbRows target, draft;
  TokenArray tokens;  // [request, places]: of the draft
  int32_t places;     // of a request's draft: num_draft or num_nodes
  RowNumber seed, offset;
  unsigned char* valid;  // may be null

  // Of a chain.
  char* out;                    // [request, places + 1], as wide as `tokens`
  int32_t *accepted, *emitted;  // may be null
  int32_t accumulate;

  // Of a tree.
  TokenArray index, child, sibling, predicted;  // [request, places]
  int32_t* predicts;                            // [num_predicts]
  int64_t num_predicts;
  int32_t *accept_index, *accept_token_num;  // [request, steps], [request]
  int32_t steps;
};

}  // namespace strobe::kernel
