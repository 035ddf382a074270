#include "strobe/block_sparse_attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/block_sparse_batch.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using test::error_message;
using test::FixedBlocks;
using test::VariableBlocks;
using testing::AllOf;
using testing::HasSubstr;

bool passes(FixedBlocks& blocks, const BlockSparsePattern& pattern) {
  return blocks.batch.passes_when([&](AttentionBatch&) {
    BlockSparseAttention attention;
    attention.plan(pattern, blocks.batch.common());
    attention.run(blocks.run());
  });
}

bool passes(VariableBlocks& blocks) {
  return blocks.batch.passes_when([&](AttentionBatch&) {
    BlockSparseAttention attention;
    attention.plan(blocks.pattern(), blocks.common());
    attention.run(blocks.run());
  });
}

TEST(BlockSparse, FixedBlocksEqualDenseAttentionWithAMask) {
  FixedBlocks blocks;
  EXPECT_TRUE(passes(blocks, blocks.pattern())) << blocks.batch.worst();
}

TEST(BlockSparse, AWrongBlockFails) {
  FixedBlocks blocks;
  blocks.indices[1] = 4;  // the reference has 3
  EXPECT_FALSE(passes(blocks, blocks.pattern()));
}

TEST(BlockSparse, KeysWithHeadsFirst) {
  FixedBlocks blocks;
  EXPECT_TRUE(blocks.batch.passes_when([&](AttentionBatch&) {
    AttentionPlanArgs common = blocks.batch.common();
    common.kv_layout = KvLayout::kHnd;
    AttentionRunArgs run = blocks.run();
    run.k = run.k.permute({1, 0, 2});
    run.v = run.v.permute({1, 0, 2});
    BlockSparseAttention attention;
    attention.plan(blocks.pattern(), common);
    attention.run(run);
  })) << blocks.batch.worst();
}

// Of the tokens that a row block sees, its own mask lets each row see some.
TEST(BlockSparse, MasksWithinBlocks) {
  std::vector<std::int32_t> indptr = {0, 2}, indices = {1, 3}, mask_indptr = {0, 8};
  std::vector<std::uint8_t> mask = {0x0f, 0xf0, 0xff, 0x01, 0x00, 0x80, 0xaa, 0x55};  // 4 rows of 16 tokens
  test::MaskedBatch batch(1, 4, 32, {.page_size = 8});
  for (int row = 0; row < 4; ++row)
    for (int seen = 0; seen < 16; ++seen)
      if (mask[static_cast<std::size_t>(row * 2 + seen / 8)] >> seen % 8 & 1) {
        const int column = seen < 8 ? 8 + seen : 24 + seen - 8;
        batch.let_through(0, row, row + 1, column, column + 1);
      }
  EXPECT_TRUE(batch.passes_when([&](AttentionBatch&) {
    AttentionPlanArgs common = batch.common();
    common.custom_mask = TensorView::of(mask);
    common.custom_mask_indptr = TensorView::of(mask_indptr);
    common.options.mask = MaskMode::kCustom;
    AttentionRunArgs run = batch.run;
    run.k = run.k.reshape({32, 2, 64});
    run.v = run.v.reshape({32, 2, 64});
    BlockSparseAttention attention;
    attention.plan({TensorView::of(indptr), TensorView::of(indices), 4, 32, 4, 8}, common);
    attention.run(run);
  })) << batch.worst();
}

TEST(BlockSparse, VariableBlocksEqualDenseAttentionWithAMask) {
  VariableBlocks blocks;
  EXPECT_TRUE(passes(blocks)) << blocks.batch.worst();
}

TEST(BlockSparse, BlocksOfTheWrongHeadFail) {
  VariableBlocks blocks;
  for (int i = 0; i < 12; ++i) std::swap(blocks.mask[i], blocks.mask[12 + i]);
  EXPECT_FALSE(passes(blocks));
}

TEST(BlockSparse, Errors) {
  FixedBlocks blocks;
  BlockSparseAttention attention;
  const auto plan_error = [&](const BlockSparsePattern& pattern) {
    return error_message([&] { attention.plan(pattern, blocks.batch.common()); });
  };
  EXPECT_THAT(error_message([&] { attention.run(blocks.run()); }),
              HasSubstr("expected a successful plan before it"));
  BlockSparsePattern pattern = blocks.pattern();
  pattern.columns = 97;
  EXPECT_THAT(plan_error(pattern), HasSubstr("columns: expected a multiple of block_columns = 8, got 97"));
  pattern = blocks.pattern();
  pattern.rows = 100;
  EXPECT_THAT(plan_error(pattern), AllOf(HasSubstr("indptr: expected i32[8]"), HasSubstr("got i32[6]")));
  pattern = blocks.pattern();
  pattern.block_rows = 0;
  EXPECT_THAT(plan_error(pattern), HasSubstr("block_rows: expected at least 1, got 0"));
  blocks.indices[3] = 12;
  EXPECT_THAT(plan_error(blocks.pattern()), HasSubstr("indices: expected block columns in [0, 12), got 12"));
  blocks.indices[3] = 2;
  blocks.indptr[1] = 6;
  EXPECT_THAT(plan_error(blocks.pattern()),
              HasSubstr("indptr: expected numbers that grow from 0, got 5 after 6"));
  blocks.indptr[1] = 2;
  attention.plan(blocks.pattern(), blocks.batch.common());
  AttentionRunArgs run = blocks.run();
  run.k = run.k.slice(0, 0, 88);
  EXPECT_THAT(error_message([&] { attention.run(run); }), HasSubstr("k: expected 3 axes with 96 at axis 0"));
}

TEST(BlockSparse, ErrorsOfVariableBlocks) {
  VariableBlocks blocks;
  BlockSparseAttention attention;
  const auto plan_error = [&] {
    return error_message([&] { attention.plan(blocks.pattern(), blocks.common()); });
  };
  blocks.row_sizes[3] = 17;
  EXPECT_THAT(plan_error(), HasSubstr("row_sizes: expected 50 in all as of head 0, got 51 of head 1"));
  blocks.row_sizes[3] = -1;
  EXPECT_THAT(plan_error(), HasSubstr("row_sizes: expected sizes of 0 and more, got -1"));
  blocks.row_sizes[3] = 16;
  AttentionPlanArgs common = blocks.common();
  common.options.pos_encoding = PosEncoding::kAlibi;
  EXPECT_THAT(error_message([&] { attention.plan(blocks.pattern(), common); }),
              HasSubstr("alibi_slopes: expected none with variable blocks"));
  VariableBlockPattern pattern = blocks.pattern();
  pattern.block_mask = TensorView(blocks.mask, Dtype::kBool, {3, 2, 4});
  EXPECT_THAT(error_message([&] { attention.plan(pattern, blocks.common()); }),
              HasSubstr("block_mask: expected bool[2, 2, 4]"));
  attention.plan(blocks.pattern(), blocks.common());
  AttentionRunArgs run = blocks.run();
  run.q.strides[0] += 64;
  EXPECT_THAT(error_message([&] { attention.run(run); }),
              HasSubstr("q: expected one head after the other without gaps"));
}

}  // namespace
}  // namespace strobe
