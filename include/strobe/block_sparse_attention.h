// Attention in which a query sees some blocks of the keys only.
#pragma once

#include <memory>

#include "strobe/attention.h"
#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

// Blocks of one size, for all heads alike, as a block-compressed sparse row matrix: query rows [i *
// block_rows, (i + 1) * block_rows) see the key columns of the blocks indices[indptr[i]] … indices[indptr[i +
// 1] - 1].
struct BlockSparsePattern {
  TensorView indptr;   // i32 [ceil(rows / block_rows) + 1]
  TensorView indices;  // i32 [num_blocks]: block columns, below columns / block_columns
  int rows = 0;        // queries
  int columns = 0;     // keys; a multiple of block_columns
  int block_rows = 0;
  int block_columns = 0;
};

// Blocks of any sizes, for each KV head its own. The sizes of every head add up to the same rows and columns.
struct VariableBlockPattern {
  TensorView block_mask;    // bool [num_kv_heads, num_row_blocks, num_column_blocks]: true where seen
  TensorView row_sizes;     // i32 [num_kv_heads, num_row_blocks]: queries
  TensorView column_sizes;  // i32 [num_kv_heads, num_column_blocks]: keys
};

// Attention over the keys that a pattern lets through, after Guo et al., Block-Sparse Attention, 2024:
//
//   BlockSparseAttention attention;
//   attention.plan({.indptr = …, .indices = …, .rows = 1024, .columns = 4096, .block_rows = 64,
//   .block_columns = 16},
//                  {.num_qo_heads = 32, .num_kv_heads = 8, .head_dim_qk = 128});
//   attention.run({.q = q, .k = k, .v = v, .out = out});
//
// It runs as batched attention: a row block is a request, and a column block a page of the dense keys, so
// that it has that one's kernels, features and errors. What is not let through is not read. A query that sees
// nothing gets out = 0, lse = -inf.
//
// `plan` takes heads, dtypes, options and device from `common`, whose index arrays and page size it makes
// itself. The tokens that a row block sees count as if they stood side by side, its own rows at their end: so
// a causal mask, a window, ALiBi and RoPE see them, and so a custom mask has its bits: row block r has
// custom_mask_indptr[r] as its first byte, and bit i * seen + j lets its row i see the jth of its `seen`
// tokens.
//
// Tensors of `run`. Blocks of one size: q, out [rows, num_qo_heads, head_dim], k, v [columns, num_kv_heads,
// head_dim], HND: [num_kv_heads, columns, head_dim]; lse [rows, num_qo_heads]. Variable blocks: q, out
// [num_qo_heads, rows, head_dim], k, v [num_kv_heads, columns, head_dim], lse [num_qo_heads, rows], one head
// after the other without gaps.
//
// Errors: those of BatchAttention; a pattern that contradicts the shapes above. With variable blocks a custom
// mask, ALiBi, sinks and a capacity are kUnsupported.
class STROBE_API BlockSparseAttention {
 public:
  BlockSparseAttention();
  ~BlockSparseAttention();
  BlockSparseAttention(BlockSparseAttention&&) noexcept;
  BlockSparseAttention& operator=(BlockSparseAttention&&) noexcept;

  void plan(const BlockSparsePattern& pattern, const AttentionPlanArgs& common, const Launch& launch = {});
  void plan(const VariableBlockPattern& pattern, const AttentionPlanArgs& common, const Launch& launch = {});
  void run(const AttentionRunArgs& args, const Launch& launch = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace strobe::inline v1
