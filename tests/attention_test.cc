#include "strobe/attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ops/attention_args.h"
#include "strobe/threads.h"
#include "support/attention_batch.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using test::error_message;
using test::expect_matches_reference;
using testing::AllOf;
using testing::HasSubstr;

TEST(SingleDecode, MatchesTheReference) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const char* layout : {"NHD", "HND"})
      for (const char* kv_len : {"1", "63", "64", "300"})
        expect_matches_reference("single_decode", {{"dtype", dtype},
                                                   {"kv_layout", layout},
                                                   {"kv_len", kv_len},
                                                   {"num_qo_heads", "8"},
                                                   {"num_kv_heads", "2"}});
}

TEST(SinglePrefill, MatchesTheReferenceOverHeadDims) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (auto [qk, vo] :
         {std::pair{"8", "8"}, {"64", "64"}, {"72", "40"}, {"192", "128"}, {"256", "256"}, {"512", "512"}})
      expect_matches_reference("single_prefill", {{"dtype", dtype},
                                                  {"head_dim_qk", qk},
                                                  {"head_dim_vo", vo},
                                                  {"qo_len", "33"},
                                                  {"kv_len", "97"},
                                                  {"num_qo_heads", "4"},
                                                  {"num_kv_heads", "2"}});
}

TEST(SinglePrefill, QueryLongerThanKvHasRowsThatSeeNothing) {
  expect_matches_reference(
      "single_prefill", {{"qo_len", "40"}, {"kv_len", "10"}, {"num_qo_heads", "4"}, {"num_kv_heads", "4"}});
  expect_matches_reference("single_prefill",
                           {{"qo_len", "5"}, {"kv_len", "0"}, {"num_qo_heads", "4"}, {"num_kv_heads", "4"}});
}

TEST(BatchAttention, DecodeMatchesTheReferenceOverPagesAndGroups) {
  for (const char* kv_dtype : {"", "e4m3", "e5m2"})
    for (const char* page_size : {"1", "3", "16", "64"})
      for (const char* layout : {"NHD", "HND"})
        for (auto [heads, kv_heads] : {std::pair{"4", "4"}, {"6", "2"}, {"7", "1"}, {"16", "1"}})
          expect_matches_reference("batch_decode_paged", {{"batch_size", "3"},
                                                          {"kv_len", "150"},
                                                          {"lengths", "random"},
                                                          {"kv_dtype", kv_dtype},
                                                          {"page_size", page_size},
                                                          {"kv_layout", layout},
                                                          {"num_qo_heads", heads},
                                                          {"num_kv_heads", kv_heads},
                                                          {"head_dim_qk", "64"},
                                                          {"head_dim_vo", "64"}});
}

TEST(BatchAttention, MixedBatchMatchesTheReference) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const char* deterministic : {"false", "true"})
      expect_matches_reference("batch_mixed_paged", {{"dtype", dtype},
                                                     {"batch_size", "5"},
                                                     {"num_prefill", "2"},
                                                     {"qo_len", "70"},
                                                     {"kv_len", "400"},
                                                     {"num_qo_heads", "4"},
                                                     {"num_kv_heads", "2"},
                                                     {"deterministic", deterministic}});
}

TEST(BatchAttention, RaggedPrefillMatchesTheReference) {
  for (const char* layout : {"NHD", "HND"})
    for (const char* causal : {"true", "false"})
      expect_matches_reference("batch_prefill_ragged", {{"batch_size", "3"},
                                                        {"qo_len", "37"},
                                                        {"kv_len", "90"},
                                                        {"lengths", "random"},
                                                        {"causal", causal},
                                                        {"kv_layout", layout},
                                                        {"num_qo_heads", "6"},
                                                        {"num_kv_heads", "2"}});
}

TEST(BatchAttention, LongKvIsSplitAndMerged) {
  for (const char* deterministic : {"false", "true"})
    expect_matches_reference("batch_decode_paged", {{"batch_size", "2"},
                                                    {"kv_len", "9000"},
                                                    {"lengths", "skewed"},
                                                    {"num_qo_heads", "2"},
                                                    {"num_kv_heads", "1"},
                                                    {"sinks", "true"},
                                                    {"deterministic", deterministic}});
}

TEST(BatchAttention, FeaturesMatchTheReference) {
  for (const char* window : {"-1", "0", "50"})
    for (const char* cap : {"0", "30"})
      for (const char* position : {"none", "alibi", "rope"})
        for (const char* sinks : {"false", "true"})
          expect_matches_reference("batch_mixed_paged", {{"batch_size", "3"},
                                                         {"num_prefill", "1"},
                                                         {"qo_len", "40"},
                                                         {"kv_len", "130"},
                                                         {"window_left", window},
                                                         {"logits_soft_cap", cap},
                                                         {"pos_encoding", position},
                                                         {"sinks", sinks},
                                                         {"num_qo_heads", "6"},
                                                         {"num_kv_heads", "2"},
                                                         {"head_dim_qk", "64"},
                                                         {"head_dim_vo", "64"},
                                                         {"dtype", "f32"}});
}

TEST(BatchAttention, CustomMaskWithWindowAndWithout) {
  for (int window : {-1, 20}) {
    AttentionBatch batch(
        {{.qo_len = 9, .kv_len = 33}, {.qo_len = 1, .kv_len = 7}, {.qo_len = 30, .kv_len = 100}});
    batch.plan.options.window_left = window;
    batch.set_random_custom_mask();
    batch.expect_matches();
  }
}

TEST(BatchAttention, KvLenMayReplaceLastPageLen) {
  AttentionBatch batch(
      {{.qo_len = 2, .kv_len = 33}, {.qo_len = 1, .kv_len = 0}, {.qo_len = 3, .kv_len = 16}});
  std::vector<std::int32_t> kv_len = {33, 0, 16};
  batch.plan.last_page_len = {};
  batch.plan.kv_len = TensorView::of(kv_len);
  batch.expect_matches();
}

TEST(BatchAttention, ScalesOfAQuantisedCacheAreFactors) {
  AttentionBatch batch({{.qo_len = 4, .kv_len = 90}}, {.kv_dtype = Dtype::kE4m3});
  batch.plan.options.k_scale = 0.5f;
  batch.plan.options.v_scale = 3.0f;
  batch.plan.options.q_scale = 1.25f;
  batch.expect_matches();
  batch.run.q_scale = 0.5f;
  batch.run.k_scale = 3.0f;
  batch.run.v_scale = -2.0f;
  batch.expect_matches();
}

TEST(BatchAttention, PagesOfOneFusedCacheNeedNotBeContiguous) {
  AttentionBatch batch({{.qo_len = 5, .kv_len = 70}, {.qo_len = 1, .kv_len = 31}});
  const TensorView k = batch.run.k;
  Tensor fused(k.dtype, {k.shape[0], 2, k.shape[1], k.shape[2], k.shape[3]});
  op::Random random(3);
  op::fill_normal(fused, random);
  batch.run.k = fused.view().select(1, 0);
  batch.run.v = fused.view().select(1, 1);
  batch.expect_matches();
}

TEST(BatchAttention, EmptyBatchWorks) {
  AttentionBatch batch({});
  BatchAttention attention;
  attention.plan(batch.plan);
  EXPECT_NO_THROW(attention.run(batch.run));
}

// Runs the batch and returns the bits of request `request`'s output.
std::vector<char> output_bits(AttentionBatch& batch, int request) {
  BatchAttention attention;
  attention.plan(batch.plan);
  attention.run(batch.run);
  const auto* indptr = batch.plan.qo_indptr.as<std::int32_t>();
  const TensorView rows = batch.run.out.slice(0, indptr[request], indptr[request + 1]);
  const auto* bytes = static_cast<const char*>(rows.data);
  return {bytes, bytes + rows.bytes()};
}

TEST(BatchAttention, DeterministicBitsDependOnTheRequestAlone) {
  const test::RequestShape request = {.qo_len = 1, .kv_len = 9000};
  op::Random random(11);
  std::vector<char> alone;
  for (int round = 0; round < 6; ++round) {
    std::vector<test::RequestShape> shapes = {request};
    for (int i = 0; i < 3 * round; ++i)
      shapes.push_back({.qo_len = static_cast<int>(random.integer(1, 30)),
                        .kv_len = static_cast<int>(random.integer(30, 2000))});
    AttentionBatch batch(shapes, {.seed = static_cast<std::uint64_t>(round)});
    batch.plan.options.deterministic = true;
    batch.copy_request(0, AttentionBatch({request}, {.seed = 99}));
    const int threads = num_threads();
    set_num_threads(1 + round % 3);
    const std::vector<char> bits = output_bits(batch, 0);
    set_num_threads(threads);
    if (round == 0) alone = bits;
    EXPECT_EQ(bits, alone) << "with " << shapes.size() - 1 << " neighbours";
  }
}

TEST(BatchAttention, RunsAreRepeatable) {
  AttentionBatch batch({{.qo_len = 1, .kv_len = 9000}, {.qo_len = 100, .kv_len = 700}});
  const std::vector<char> first = output_bits(batch, 0), second = output_bits(batch, 0);
  EXPECT_EQ(first, second);
}

// The tolerance must catch the classic mistakes.
TEST(BatchAttentionControls, AShiftedMaskFails) {
  AttentionBatch batch({{.qo_len = 20, .kv_len = 60}});
  EXPECT_FALSE(batch.matches_when([](AttentionBatch& wrong) { wrong.plan.options.window_left = 30; }));
  batch.plan.options.window_left = 31;
  EXPECT_FALSE(batch.matches_when([](AttentionBatch& wrong) { wrong.plan.options.window_left = 30; }));
}

TEST(BatchAttentionControls, SwappedHeadsFail) {
  AttentionBatch batch({{.qo_len = 20, .kv_len = 60}});
  EXPECT_FALSE(batch.matches_when([](AttentionBatch& wrong) {
    wrong.run.k = wrong.run.k.permute({0, 1, 2, 3});
    const std::int64_t head = wrong.run.k.strides[2];
    wrong.run.k.data = wrong.run.k.as<Bf16>() + head;  // heads 1, 0 instead of 0, 1
    wrong.run.k.strides[2] = -head;
  }));
}

TEST(BatchAttentionControls, AWrongPageFails) {
  AttentionBatch batch({{.qo_len = 20, .kv_len = 60}});
  EXPECT_FALSE(batch.matches_when([](AttentionBatch& wrong) { wrong.kv_indices[1] = wrong.kv_indices[0]; }));
  EXPECT_TRUE(batch.matches_when([](AttentionBatch&) {}));
}

// The CPU keeps the probabilities of f16 in f32, so errors as large as their rounding to f16 must be seen.
TEST(BatchAttentionControls, ErrorsOfHalfPrecisionProbabilitiesFail) {
  AttentionBatch batch({{.qo_len = 20, .kv_len = 60}}, {.dtype = Dtype::kF16, .kv_dtype = Dtype::kF16});
  EXPECT_FALSE(batch.matches_when([](AttentionBatch& wrong) { wrong.plan.options.v_scale = 1.001f; }));
  EXPECT_TRUE(batch.matches_when([](AttentionBatch&) {}));
}

TEST(BatchAttentionNan, MaskedKeysAndValuesNeverMatter) {
  for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBf16}) {
    AttentionBatch batch({{.qo_len = 30, .kv_len = 100}}, {.dtype = dtype, .kv_dtype = dtype});
    batch.poison_kv_token(0, 99);  // the last query token alone sees it
    batch.expect_matches();
  }
}

TEST(BatchAttentionNan, QueriesPropagateToTheirOwnRowsOnly) {
  AttentionBatch batch({{.qo_len = 30, .kv_len = 100}});
  batch.run.q.at<Bf16>(7, 1, 3) = Bf16(NAN);
  batch.expect_matches();
}

class BatchAttentionErrors : public testing::Test {
 protected:
  std::string plan_error() {
    return error_message([&] { attention_.plan(batch_.plan); });
  }
  std::string run_error() {
    attention_.plan(batch_.plan);
    return error_message([&] { attention_.run(batch_.run); });
  }
  AttentionBatch batch_{{{.qo_len = 4, .kv_len = 33}, {.qo_len = 1, .kv_len = 40}}};
  BatchAttention attention_;
};

TEST_F(BatchAttentionErrors, HeadDim) {
  batch_.plan.head_dim_qk = 20;
  EXPECT_THAT(
      plan_error(),
      HasSubstr("batch_attention_paged: head_dim_qk: expected a multiple of 8 from 8 to 512, got 20"));
  batch_.plan.head_dim_qk = 520;
  EXPECT_THAT(plan_error(), AllOf(HasSubstr("head_dim_qk"), HasSubstr("520")));
}

TEST_F(BatchAttentionErrors, GroupSize) {
  batch_.plan.num_qo_heads = 5;
  EXPECT_THAT(plan_error(),
              HasSubstr("num_qo_heads: expected a positive multiple of num_kv_heads = 2, got 5"));
}

TEST_F(BatchAttentionErrors, Indptr) {
  batch_.qo_indptr[1] = 9;
  EXPECT_THAT(plan_error(),
              HasSubstr("qo_indptr: expected values that do not decrease, got 5 after 9 at index 2"));
  batch_.qo_indptr = {1, 4, 5};
  batch_.refresh();
  EXPECT_THAT(plan_error(), HasSubstr("qo_indptr: expected to start at 0, got 1"));
  batch_.qo_indptr = {0, 4};
  batch_.refresh();
  EXPECT_THAT(plan_error(),
              AllOf(HasSubstr("kv_indptr"), HasSubstr("batch_size+1 = 2"), HasSubstr("i32[3]")));
}

TEST_F(BatchAttentionErrors, PageTable) {
  batch_.kv_indices[2] = 1000;
  EXPECT_THAT(run_error(), AllOf(HasSubstr("kv_indices: expected page numbers in [0, num_pages = "),
                                 HasSubstr("got 1000")));
  batch_.kv_indices[2] = -1;
  EXPECT_THAT(run_error(), AllOf(HasSubstr("kv_indices"), HasSubstr("got -1")));
  batch_.last_page_len[1] = 0;
  EXPECT_THAT(plan_error(),
              HasSubstr("last_page_len: expected 1 to page_size = 16 for request 1 with 3 pages, got 0"));
  batch_.last_page_len[1] = 17;
  EXPECT_THAT(plan_error(), HasSubstr("got 17"));
  batch_.plan.last_page_len = {};
  EXPECT_THAT(plan_error(), HasSubstr("expected exactly one of last_page_len and kv_len, got neither"));
}

TEST_F(BatchAttentionErrors, DtypesAndShapesOtherThanPlanned) {
  const TensorView q = batch_.run.q;
  batch_.run.q.dtype = Dtype::kF16;
  EXPECT_THAT(run_error(), HasSubstr("q: expected dtype bf16 as planned, got f16[5, 4, 64]"));
  batch_.run.q.dtype = Dtype::kI32;
  EXPECT_THAT(run_error(), HasSubstr("q: expected dtype f32, f16, bf16 or e4m3, got i32"));
  batch_.run.q = q.slice(0, 0, 4);
  EXPECT_THAT(
      run_error(),
      HasSubstr("q: expected shape [nnz_qo = 5, num_qo_heads = 4, head_dim_qk = 64], got bf16[4, 4, 64]"));
  batch_.run.q = q.select(1, 0);
  EXPECT_THAT(run_error(), HasSubstr("q: expected 3 axes"));
  batch_.run.q = q;
  batch_.run.q.strides[2] = 2;
  EXPECT_THAT(run_error(), HasSubstr("q: expected stride 1 on the innermost axis"));
  batch_.run.q = q;
  batch_.run.q.device = {DeviceType::kCuda, 0};
  EXPECT_THAT(run_error(), HasSubstr("expected device cuda:0 (that of q)"));
  batch_.run.q = {};
  EXPECT_THAT(run_error(), HasSubstr("q: expected [nnz_qo = 5"));
}

TEST_F(BatchAttentionErrors, OutputOnInput) {
  batch_.run.out = batch_.run.q;
  EXPECT_THAT(run_error(), HasSubstr("out: expected memory apart from q"));
}

TEST_F(BatchAttentionErrors, RunWithoutPlan) {
  EXPECT_THAT(error_message([&] { attention_.run(batch_.run); }),
              HasSubstr("run: expected a successful plan before it, got none"));
  batch_.plan.num_qo_heads = 5;
  plan_error();
  EXPECT_THAT(error_message([&] { attention_.run(batch_.run); }), HasSubstr("successful plan"));
}

TEST_F(BatchAttentionErrors, MaskAndOptions) {
  batch_.plan.options.mask = MaskMode::kCustom;
  EXPECT_THAT(plan_error(), HasSubstr("custom_mask: expected one with mask custom, got"));
  batch_.plan.options.mask = static_cast<MaskMode>(7);
  EXPECT_THAT(plan_error(), HasSubstr("mask: expected one of none, causal, custom, got"));
  batch_.plan.options.mask = MaskMode::kNone;
  batch_.plan.options.logits_soft_cap = -1;
  EXPECT_THAT(plan_error(), HasSubstr("logits_soft_cap: expected a value in [0"));
  batch_.plan.options.logits_soft_cap = NAN;
  EXPECT_THAT(plan_error(), HasSubstr("logits_soft_cap"));
}

TEST_F(BatchAttentionErrors, UnservedBackend) {
  attention_.plan(batch_.plan);
  EXPECT_THAT(error_message([&] { attention_.run(batch_.run, Backend::kCudaSm90); }),
              HasSubstr("backend 'cuda/sm90'"));
}

TEST(AlibiSlopes, PowersOfTwoAndOthers) {
  EXPECT_THAT(alibi_slopes(8), testing::ElementsAre(0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.015625f,
                                                    0.0078125f, 0.00390625f));
  const std::vector<float> six = alibi_slopes(6);
  EXPECT_THAT(six, testing::ElementsAre(0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f));
}

}  // namespace
}  // namespace strobe
