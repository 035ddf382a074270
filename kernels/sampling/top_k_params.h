// Parameters of top_k.cuh, for host and device.
#pragma once

#include "sampling/sampling_params.h"

namespace strobe::kernel {

struct TopKParams {
  RowCut cut;
  void* values;   // may be null
  void* indices;  // [rows, k]
  int32_t k;
  int32_t wide;        // indices are 64-bit
  int32_t last_first;  // of equal values the one of the higher index comes first

  // Of rows that are parts [row_starts, row_starts + lengths) of the input's; all may be null.
  const int32_t* lengths;
  const int32_t* row_starts;
  const int32_t* offsets;  // added to the indices
  // The places that pages have of indices: see TopKPageTableTransformArgs.
  const int32_t* page_table;
  const int32_t* row_to_batch;
  const int32_t* page_table_row_starts;
  int32_t* raw_indices;
  int64_t page_table_stride;  // elements
  int32_t num_batches, page_table_length;
  int32_t page_shift;  // a page has 2^page_shift indices
};

}  // namespace strobe::kernel
