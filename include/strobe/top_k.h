// The largest values of rows, and their indices; of parts of rows, moved to where a cache has them.
//
// Order. Values come from the largest down; NaN comes before +Inf, and -0 and 0 are equal. Of equal values
// the one of the lower index comes first, or, with last_first, the one of the higher index. So every result
// is exact, and the same on every backend.
//
// Scores. The transforms are for sparse attention over a cache (DeepSeek-V3.2's): row i of `scores` is looked
// at from row_starts[i] on (0 without it), lengths[i] of them at the most, indices count from there, and come
// in their own order, from the lowest up. A row of fewer than k scores gives all of them; what is left of the
// k places of the output is -1. A row_starts outside the row leaves it without scores.
//
// All throw Error(kInvalidArgument) on shapes, dtypes, strides, overlaps or ranges other than stated, and
// Error(kUnsupported) on rows of more than 2^22 values and, on a GPU, k of more than 4096.
#pragma once

#include <cstdint>

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

struct TopKArgs {
  TensorView input;    // [batch_size, vocab_size], f32, f16 or bf16; the innermost axis contiguous
  TensorView values;   // [batch_size, k], like input; k is 1 … vocab_size
  TensorView indices;  // [batch_size, k], i32 or i64
  bool last_first = false;
};

// values[i, j] = input[i, indices[i, j]], the j-th of row i.
STROBE_API void top_k(const TopKArgs& args, const Launch& launch = {});

struct TopKRaggedTransformArgs {
  TensorView scores;      // [num_rows, max_len], f32, f16 or bf16; the innermost axis contiguous
  TensorView offsets;     // [num_rows], i32
  TensorView lengths;     // [num_rows], i32
  TensorView row_starts;  // optional [num_rows], i32
  TensorView out;         // [num_rows, k], i32
  bool last_first = false;
};

// out[i, j] = offsets[i] + the j-th index that row i has among its k largest scores.
STROBE_API void top_k_ragged_transform(const TopKRaggedTransformArgs& args, const Launch& launch = {});

struct TopKPageTableTransformArgs {
  TensorView scores;                 // [num_rows, max_len], f32, f16 or bf16; the innermost axis contiguous
  TensorView page_table;             // [num_batches, max_pages], i32; the innermost axis contiguous
  TensorView lengths;                // [num_rows], i32
  TensorView row_to_batch;           // optional [num_rows], i32: row of the page table; else row i is of i
  TensorView row_starts;             // optional [num_rows], i32
  TensorView page_table_row_starts;  // optional [num_rows], i32, in pages; else row_starts
  TensorView out;                    // [num_rows, k], i32
  TensorView raw_indices;            // optional [num_rows, k], i32: the indices, before they are moved
  std::int64_t page_size = 1;        // a power of two
  bool last_first = false;
};

// out[i, j] = page_table[b, first + x / page_size] * page_size + x % page_size, x the j-th index that row i
// has among its k largest scores, b = row_to_batch[i], first = page_table_row_starts[i]; -1 where the page
// table has no such place.
STROBE_API void top_k_page_table_transform(const TopKPageTableTransformArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
