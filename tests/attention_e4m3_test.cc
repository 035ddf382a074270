// Attention of e4m3 queries, keys and values on the CPU, with scales by head.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/e4m3_batch.h"

namespace strobe {
namespace {

using test::E4m3Batch;
using test::expect_matches_reference;
using test::ScopedIsa;
using testing::AllOf;
using testing::HasSubstr;

void run_on_cpu(const ops::BatchAttentionArgs& args) {
  BatchAttention attention;
  attention.plan(args.plan);
  attention.run(args.run);
}

TEST(AttentionE4m3, MatchesTheReference) {
  for (const char* scales : {"false", "true"})
    for (const char* dim : {"64", "128"}) {
      expect_matches_reference("single_prefill", {{"dtype", "e4m3"},
                                                  {"head_scales", scales},
                                                  {"qo_len", "33"},
                                                  {"kv_len", "97"},
                                                  {"num_qo_heads", "4"},
                                                  {"num_kv_heads", "2"},
                                                  {"head_dim_qk", dim},
                                                  {"head_dim_vo", "64"}});
      expect_matches_reference("batch_mixed_paged", {{"dtype", "e4m3"},
                                                     {"head_scales", scales},
                                                     {"batch_size", "3"},
                                                     {"qo_len", "40"},
                                                     {"kv_len", "130"},
                                                     {"sinks", "true"},
                                                     {"num_qo_heads", "6"},
                                                     {"num_kv_heads", "2"},
                                                     {"head_dim_qk", dim},
                                                     {"head_dim_vo", "64"}});
    }
}

TEST(AttentionE4m3, EveryLevelKeepsWeightsInF32) {
  for (const cpu::Isa isa : test::isa_levels()) {
    const ScopedIsa scoped(isa);
    E4m3Batch e4m3({{.qo_len = 20, .kv_len = 300}, {.qo_len = 1, .kv_len = 2000}},
                   {.num_qo_heads = 4, .num_kv_heads = 2}, Dtype::kF32);
    EXPECT_LT(e4m3.relative_error([](const E4m3Batch& batch) { run_on_cpu(batch.args()); }), 1e-6)
        << cpu::name(isa);
  }
}

TEST(AttentionE4m3, NanReachesWhoAttendsToIt) {
  E4m3Batch e4m3({{.qo_len = 30, .kv_len = 100}}, {.num_qo_heads = 4, .num_kv_heads = 2});
  e4m3.batch.poison_kv_token(0, 99);  // the last query token alone sees it
  e4m3.batch.expect_matches();
  E4m3Batch queries({{.qo_len = 30, .kv_len = 70}}, {.num_qo_heads = 2, .num_kv_heads = 1});
  queries.batch.run.q.at<E4m3>(7, 1, 3) = E4m3(NAN);
  queries.batch.expect_matches();
}

TEST(AttentionE4m3, ScalesThatAreNotPositiveMakeNan) {
  for (auto scales : {&E4m3Batch::q_scales, &E4m3Batch::k_scales, &E4m3Batch::v_scales}) {
    E4m3Batch e4m3({{.qo_len = 9, .kv_len = 40}}, {.num_qo_heads = 2, .num_kv_heads = 2});
    (e4m3.*scales)[1] = -1;
    e4m3.batch.expect_matches();
    EXPECT_TRUE(std::isnan(static_cast<float>(e4m3.out.as<Bf16>()[64])));
    EXPECT_FALSE(std::isnan(static_cast<float>(e4m3.out.as<Bf16>()[0])));
  }
}

TEST(AttentionE4m3, ForgottenScalesFailTheCheck) {
  E4m3Batch e4m3({{.qo_len = 30, .kv_len = 200}}, {.num_qo_heads = 2, .num_kv_heads = 2});
  e4m3.batch.plan.options.sm_scale = 0.5f;
  for (auto scales : {&AttentionRunArgs::q_scales, &AttentionRunArgs::k_scales, &AttentionRunArgs::v_scales})
    EXPECT_FALSE(e4m3.batch.matches_when([&](test::AttentionBatch& batch) { batch.run.*scales = {}; }));
  EXPECT_TRUE(e4m3.batch.matches_when([](test::AttentionBatch&) {}));
}

std::string run_error(const ops::BatchAttentionArgs& args) {
  return test::error_message([&] { run_on_cpu(args); });
}

TEST(AttentionE4m3Errors, KeysOfAnotherFormat) {
  const E4m3Batch e4m3({{.qo_len = 4, .kv_len = 33}}, {});
  ops::BatchAttentionArgs args = e4m3.args();
  args.plan.kv_dtype = Dtype::kE5m2;
  EXPECT_THAT(run_error(args), HasSubstr("kv_dtype: expected dtype e4m3 (that of q), got e5m2"));
  args.plan.q_dtype = Dtype::kE5m2;
  EXPECT_THAT(run_error(args), HasSubstr("q_dtype: expected f32, f16, bf16 or e4m3, got e5m2"));
}

TEST(AttentionE4m3Errors, OutputsAreNotE4m3) {
  E4m3Batch e4m3({{.qo_len = 4, .kv_len = 33}}, {});
  ops::BatchAttentionArgs args = e4m3.args();
  const Tensor out(Dtype::kE4m3, {4, 4, 64});
  args.run.out = out;
  EXPECT_THAT(run_error(args), AllOf(HasSubstr("out: expected dtype f32, f16 or bf16"), HasSubstr("e4m3")));
}

TEST(AttentionE4m3Errors, ScalesByHead) {
  E4m3Batch e4m3({{.qo_len = 4, .kv_len = 33}}, {});
  ops::BatchAttentionArgs args = e4m3.args();
  args.run.k_scales = args.run.q_scales;
  EXPECT_THAT(run_error(args),
              AllOf(HasSubstr("k_scales"), HasSubstr("num_kv_heads = 2"), HasSubstr("f32[4]")));
  test::AttentionBatch bf16({{.qo_len = 4, .kv_len = 33}});
  bf16.run.v_scales = e4m3.batch.run.v_scales;
  EXPECT_THAT(run_error({bf16.plan, bf16.run}),
              HasSubstr("v_scales: expected none, since q is bf16 and no e4m3, got f32[2]"));
}

}  // namespace
}  // namespace strobe
