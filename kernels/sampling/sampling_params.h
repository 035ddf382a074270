// Parameters of sampling.cuh, for host and device.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// A parameter of each row, or one for all.
template <class T>
struct RowParameter {
  const T* rows;  // null: `value` holds for all
  T value;
};

// A 64-bit number for all rows or one for each.
struct RowNumber {
  const int64_t* numbers;  // null: `value` holds
  int64_t value;
  int32_t per_row;  // numbers[row] rather than numbers[0]
};

inline constexpr int kSamplingThreads = 512;
inline constexpr int kMostSegments = 1024;  // of a row
// What a block needs of shared memory in front of its list: at most this.
inline constexpr int kSamplingSharedBytes = 28672;

// Rows, and how a cluster shares one out (columns.cuh).
struct RowCut {
  const char* input;
  int64_t input_stride;  // bytes
  int32_t vocab_size;
  int32_t segments;         // of the row,
  int32_t segment_batches;  // whose lanes have so many batches of vectors: 2^segment_shift columns
  int32_t segment_shift;
  int32_t list_capacity;  // tokens; 0: no list
};

struct SamplingParams {
  RowCut cut;          // of rows of probabilities or logits
  char* out;           // rows, of kRenorm and kMask
  int64_t out_stride;  // bytes
  void* samples;
  unsigned char* valid;    // may be null
  const int32_t* indices;  // may be null
  int32_t input_rows;
  int32_t wide;  // samples are 64-bit
  int32_t joint;
  RowParameter<int32_t> top_k;
  RowParameter<float> top_p, min_p, temperature;
  RowNumber seed, offset;
};

}  // namespace strobe::kernel
