// What top-k and its transforms have in common, for their backends.
#pragma once

#include "op/operator.h"
#include "strobe/top_k.h"

namespace strobe::op {

struct TopKCall {
  std::string_view op_name;
  const TensorView& input;
  const TensorView& indices;  // [rows, k]
  const TensorView* values = nullptr;
  bool last_first = false;
  // Of parts of rows:
  const TensorView* lengths = nullptr;
  const TensorView* row_starts = nullptr;
  const TensorView* offsets = nullptr;
  const TensorView* page_table = nullptr;
  const TensorView* row_to_batch = nullptr;
  const TensorView* page_table_row_starts = nullptr;
  const TensorView* raw_indices = nullptr;
  std::int64_t page_size = 1;

  std::int64_t rows() const { return indices.shape[0]; }
  std::int64_t k() const { return indices.shape[1]; }
};

// What row `row` of a call's input is looked at.
struct ScoreRange {
  std::int64_t start, size;
};
ScoreRange score_range(const TopKCall& call, std::int64_t row);
// Where index `index` of a row goes.
std::int64_t moved_index(const TopKCall& call, std::int64_t row, std::int64_t index);

void run_top_k_cpu(const TopKCall& call);
void run_top_k_cuda(const TopKCall& call, const Launch& launch);

}  // namespace strobe::op
