// Block-sparse problems, and the same as dense attention with custom masks, which the reference knows.
#pragma once

#include <cstdint>
#include <vector>

#include "strobe/block_sparse_attention.h"
#include "support/attention_batch.h"

namespace strobe::test {

// Pages in ascending order, so that the cache is the dense keys, and one mask of rows x columns for a
// request.
class MaskedBatch : public AttentionBatch {
 public:
  MaskedBatch(int requests, int rows, int columns, const BatchShape& shape)
      : AttentionBatch(std::vector<RequestShape>(static_cast<std::size_t>(requests),
                                                 {.qo_len = rows, .kv_len = columns}),
                       shape),
        rows_(rows),
        columns_(columns) {
    std::iota(kv_indices.begin(), kv_indices.end(), 0);
    const int bytes = (rows * columns + 7) / 8;
    for (int r = 0; r <= requests; ++r) mask_indptr_.push_back(r * bytes);
    mask_.resize(static_cast<std::size_t>(requests * bytes));
    plan.custom_mask = TensorView::of(mask_);
    plan.custom_mask_indptr = TensorView::of(mask_indptr_);
    plan.options.mask = MaskMode::kCustom;
  }

  // Lets the rows of a request see the columns.
  void let_through(int request, int row_begin, int row_end, int column_begin, int column_end) {
    for (int row = row_begin; row < std::min(row_end, rows_); ++row)
      for (int column = column_begin; column < column_end; ++column) {
        const int bit = row * columns_ + column;
        mask_[static_cast<std::size_t>(mask_indptr_[static_cast<std::size_t>(request)] + bit / 8)] |=
            static_cast<std::uint8_t>(1 << bit % 8);
      }
  }

  // The plan's heads and dtypes, without what a pattern stands for.
  AttentionPlanArgs common() const {
    AttentionPlanArgs args = plan;
    args.custom_mask = {};
    args.custom_mask_indptr = {};
    args.options.mask = MaskMode::kNone;
    return args;
  }

 private:
  int rows_, columns_;
  std::vector<std::uint8_t> mask_;
  std::vector<std::int32_t> mask_indptr_;
};

// 70 queries in blocks of 16 (the last has 6), 96 keys in blocks of 8; row block 2 sees nothing.
struct FixedBlocks {
  FixedBlocks() {
    for (int i = 0; i < 5; ++i)
      for (int j = indptr[static_cast<std::size_t>(i)]; j < indptr[static_cast<std::size_t>(i) + 1]; ++j) {
        const int column = indices[static_cast<std::size_t>(j)];
        batch.let_through(0, 16 * i, 16 * i + 16, 8 * column, 8 * column + 8);
      }
  }
  BlockSparsePattern pattern() {
    return {.indptr = TensorView::of(indptr),
            .indices = TensorView::of(indices),
            .rows = 70,
            .columns = 96,
            .block_rows = 16,
            .block_columns = 8};
  }
  // k and v as [columns, heads, dim].
  AttentionRunArgs run() const {
    AttentionRunArgs args = batch.run;
    args.k = args.k.reshape({96, 2, 64});
    args.v = args.v.reshape({96, 2, 64});
    return args;
  }

  std::vector<std::int32_t> indptr = {0, 2, 5, 5, 6, 12}, indices = {0, 3, 1, 2, 11, 7, 0, 1, 2, 9, 10, 11};
  MaskedBatch batch{1, 70, 96, {.page_size = 8}};
};

// Two KV heads with blocks of their own, two query heads each. The dense form has a request for each query
// head.
struct VariableBlocks {
  static constexpr int kRows = 50, kColumns = 64;

  VariableBlocks() {
    op::Random random(3);
    for (const Tensor* tensor : {&k, &v}) op::fill_normal(*tensor, random);
    for (int head = 0; head < 4; ++head)
      for (std::size_t i = 0, row = 0; i < 3;
           row += static_cast<std::size_t>(row_sizes[head / 2 * 3 + i]), ++i)
        for (std::size_t j = 0, column = 0; j < 4;
             column += static_cast<std::size_t>(column_sizes[head / 2 * 4 + j]), ++j)
          if (mask[head / 2 * 12 + i * 4 + j])
            batch.let_through(head, static_cast<int>(row),
                              static_cast<int>(row) + row_sizes[head / 2 * 3 + i], static_cast<int>(column),
                              static_cast<int>(column) + column_sizes[head / 2 * 4 + j]);
    for (auto [dense, own] : {std::pair{batch.run.k, k.view()}, {batch.run.v, v.view()}})
      for (int head = 0; head < 4; ++head)
        std::memcpy(dense.select(0, head).data, own.select(0, head / 2).data,
                    static_cast<std::size_t>(own.select(0, 0).bytes()));
  }
  VariableBlockPattern pattern() {
    return {.block_mask = TensorView(mask, Dtype::kBool, {2, 3, 4}),
            .row_sizes = TensorView(row_sizes, Dtype::kI32, {2, 3}),
            .column_sizes = TensorView(column_sizes, Dtype::kI32, {2, 4})};
  }
  AttentionPlanArgs common() const {
    AttentionPlanArgs args = batch.common();
    args.num_qo_heads = 4;
    args.num_kv_heads = 2;
    return args;
  }
  // Heads first.
  AttentionRunArgs run() const {
    AttentionRunArgs args = batch.run;
    args.k = k;
    args.v = v;
    args.q = args.q.reshape({4, kRows, 64});
    args.out = args.out.reshape({4, kRows, 64});
    args.lse = args.lse.reshape({4, kRows});
    return args;
  }

  bool mask[24] = {true,  false, true, true,  false, true,  false, false, true, true,  true,  true,
                   false, false, true, false, false, false, false, false, true, false, false, true};
  std::int32_t row_sizes[6] = {7, 33, 10, 16, 0, 34}, column_sizes[8] = {8, 16, 24, 16, 4, 20, 8, 32};
  Tensor k{Dtype::kBf16, {2, kColumns, 64}}, v{Dtype::kBf16, {2, kColumns, 64}};
  MaskedBatch batch{4, kRows, kColumns, {.num_qo_heads = 1, .num_kv_heads = 1, .page_size = kColumns}};
};

}  // namespace strobe::test
