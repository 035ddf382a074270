#include "strobe/cascade_attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cascade_batch.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using testing::HasSubstr;

class Cascade : public testing::Test, protected test::CascadeBatch {};

TEST_F(Cascade, EqualsAttentionOverTheConcatenation) {
  Tensor sinks(Dtype::kF32, {4});
  op::Random random(5);
  op::fill_normal(sinks, random);
  for (bool with_sinks : {false, true}) {
    flat.run.sinks = with_sinks ? sinks.view() : TensorView();
    const auto levels_of_cascade = levels();
    EXPECT_TRUE(flat.passes_when([&](AttentionBatch& batch) {
      MultiLevelCascadeAttention cascade;
      cascade.plan(levels_of_cascade, batch.plan);
      cascade.run(batch.run);
    })) << flat.worst();
  }
}

TEST_F(Cascade, AWrongSharedPageFails) {
  all_indices[0] = own_indices[0];
  const auto levels_of_cascade = levels();
  EXPECT_FALSE(flat.passes_when([&](AttentionBatch& batch) {
    MultiLevelCascadeAttention cascade;
    cascade.plan(levels_of_cascade, batch.plan);
    cascade.run(batch.run);
  }));
}

TEST_F(Cascade, Errors) {
  MultiLevelCascadeAttention cascade;
  EXPECT_THAT(test::error_message([&] { cascade.run(flat.run); }),
              HasSubstr("expected a successful plan before it"));
  EXPECT_THAT(test::error_message([&] { cascade.plan({}, flat.plan); }),
              HasSubstr("levels: expected at least one, got none"));
  all_qo[1] = 7;
  EXPECT_THAT(test::error_message([&] { cascade.plan(levels(), flat.plan); }),
              HasSubstr("level 1: qo_indptr: expected 7 query rows as at level 0, got 25"));
  all_qo[1] = 25;
  pair_last[1] = 40;
  EXPECT_THAT(test::error_message([&] { cascade.plan(levels(), flat.plan); }),
              HasSubstr("level 1: batch_attention_paged: last_page_len"));
  flat.plan.options.window_left = 3;
  EXPECT_THAT(test::error_message([&] { cascade.plan(levels(), flat.plan); }),
              HasSubstr("window_left: expected none"));
}

}  // namespace
}  // namespace strobe
