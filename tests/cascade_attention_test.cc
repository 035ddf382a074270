#include "strobe/cascade_attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/attention_batch.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using testing::HasSubstr;

// Four requests: all share 48 tokens, two pairs share 32 more each, and each has KV of its own. `flat`
// attends to the concatenation; the levels name the same pages.
class Cascade : public testing::Test {
 protected:
  static constexpr int kPage = 16, kShared = 48, kPair = 32;

  Cascade() {
    for (std::size_t r = 0; r < 4; ++r)
      for (int page = 0; page < (kShared + kPair) / kPage; ++page) {
        const std::size_t donor = page < kShared / kPage ? 0 : r / 2 * 2;
        flat_.kv_indices[static_cast<std::size_t>(flat_.kv_indptr[r] + page)] =
            flat_.kv_indices[static_cast<std::size_t>(flat_.kv_indptr[donor] + page)];
      }
    const auto first_page = [&](std::size_t r) { return flat_.kv_indices.begin() + flat_.kv_indptr[r]; };
    all_indices_.assign(first_page(0), first_page(0) + kShared / kPage);
    for (std::size_t pair = 0; pair < 2; ++pair)
      pair_indices_.insert(pair_indices_.end(), first_page(2 * pair) + kShared / kPage,
                           first_page(2 * pair) + (kShared + kPair) / kPage);
    for (std::size_t r = 0; r < 4; ++r) {
      own_indices_.insert(own_indices_.end(), first_page(r) + (kShared + kPair) / kPage,
                          flat_.kv_indices.begin() + flat_.kv_indptr[r + 1]);
      own_indptr_.push_back(static_cast<std::int32_t>(own_indices_.size()));
    }
    const std::int32_t rows = flat_.qo_indptr.back();
    all_qo_ = {0, rows};
    pair_qo_ = {0, flat_.qo_indptr[2], rows};
  }

  std::vector<CascadeLevel> levels() {
    return {{TensorView::of(all_qo_), TensorView::of(all_indptr_), TensorView::of(all_indices_),
             TensorView::of(all_last_)},
            {TensorView::of(pair_qo_), TensorView::of(pair_indptr_), TensorView::of(pair_indices_),
             TensorView::of(pair_last_)},
            {TensorView::of(flat_.qo_indptr), TensorView::of(own_indptr_), TensorView::of(own_indices_),
             TensorView::of(flat_.last_page_len)}};
  }

  AttentionBatch flat_{{{.qo_len = 1, .kv_len = 81},
                        {.qo_len = 3, .kv_len = 100},
                        {.qo_len = 20, .kv_len = 110},
                        {.qo_len = 1, .kv_len = 96}}};
  std::vector<std::int32_t> all_qo_, all_indptr_ = {0, kShared / kPage}, all_indices_, all_last_ = {kPage};
  std::vector<std::int32_t> pair_qo_, pair_indptr_ = {0, kPair / kPage, 2 * kPair / kPage}, pair_indices_,
                                      pair_last_ = {kPage, kPage};
  std::vector<std::int32_t> own_indptr_ = {0}, own_indices_;
};

TEST_F(Cascade, EqualsAttentionOverTheConcatenation) {
  Tensor sinks(Dtype::kF32, {4});
  op::Random random(5);
  op::fill_normal(sinks, random);
  for (bool with_sinks : {false, true}) {
    flat_.run.sinks = with_sinks ? sinks.view() : TensorView();
    const auto levels_of_cascade = levels();
    EXPECT_TRUE(flat_.passes_when([&](AttentionBatch& batch) {
      MultiLevelCascadeAttention cascade;
      cascade.plan(levels_of_cascade, batch.plan);
      cascade.run(batch.run);
    })) << flat_.worst();
  }
}

TEST_F(Cascade, AWrongSharedPageFails) {
  all_indices_[0] = own_indices_[0];
  const auto levels_of_cascade = levels();
  EXPECT_FALSE(flat_.passes_when([&](AttentionBatch& batch) {
    MultiLevelCascadeAttention cascade;
    cascade.plan(levels_of_cascade, batch.plan);
    cascade.run(batch.run);
  }));
}

TEST_F(Cascade, Errors) {
  MultiLevelCascadeAttention cascade;
  EXPECT_THAT(test::error_message([&] { cascade.run(flat_.run); }),
              HasSubstr("expected a successful plan before it"));
  EXPECT_THAT(test::error_message([&] { cascade.plan({}, flat_.plan); }),
              HasSubstr("levels: expected at least one, got none"));
  all_qo_[1] = 7;
  EXPECT_THAT(test::error_message([&] { cascade.plan(levels(), flat_.plan); }),
              HasSubstr("level 1: qo_indptr: expected 7 query rows as at level 0, got 25"));
  all_qo_[1] = 25;
  pair_last_[1] = 40;
  EXPECT_THAT(test::error_message([&] { cascade.plan(levels(), flat_.plan); }),
              HasSubstr("level 1: batch_attention_paged: last_page_len"));
  flat_.plan.options.window_left = 3;
  EXPECT_THAT(test::error_message([&] { cascade.plan(levels(), flat_.plan); }),
              HasSubstr("window_left: expected none"));
}

}  // namespace
}  // namespace strobe
