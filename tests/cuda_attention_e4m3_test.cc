// Attention of e4m3 queries, keys and values on a GPU against FP64: Hopper's kernel, and elsewhere the kernel
// in f32.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ops/attention_sm90_cuda.h"
#include "support/e4m3_batch.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::E4m3Batch;
using test::GpuRun;
using test::kGpu;
using Values = test::Values;

using CudaAttentionE4m3 = test::GpuTest;
using CudaAttentionE4m3Slow = test::GpuTest;

op::CheckResult check_batch(ops::BatchAttentionArgs& args, const std::string& label, const GpuRun& how = {}) {
  const op::Operator& op = ops::batch_attention_operator(args.paged());
  BatchAttention attention;
  return test::check_run_on_gpu(op, &args, label, how, [&](Stream stream) {
    args.plan.device = kGpu;
    attention.plan(args.plan, stream);
    attention.run(args.run, stream);
    cuda::synchronize(kGpu, stream);
    args.plan.device = {};
  });
}

void expect_matches(ops::BatchAttentionArgs& args, const std::string& label, const GpuRun& how = {}) {
  const op::CheckResult result = check_batch(args, label, how);
  EXPECT_TRUE(result.passed) << label << ": " << result.worst;
  EXPECT_TRUE(result.elements > 0 || args.run.out.size() == 0) << label;
}

void expect_routine_matches(const char* name, const Values& values) {
  const op::NamedRoutine routine = op::find_routine(name);
  op::Case parameters(routine.routine.parameters);
  std::string label = name;
  for (const auto& [parameter, value] : values) {
    parameters.set(parameter, value);
    label += " --" + std::string(parameter) + " " + value;
  }
  op::Random random(1);
  const op::Problem problem = routine.routine.make(*routine.op, parameters, random);
  expect_matches(*static_cast<ops::BatchAttentionArgs*>(problem.args.get()), label);
}

// Heads, and requests of one tile: few products for the emulated GPU.
const Values kSmall = {{"dtype", "e4m3"}, {"batch_size", "1"},   {"qo_len", "20"},
                       {"kv_len", "140"}, {"num_qo_heads", "1"}, {"num_kv_heads", "1"}};

Values with(Values values, const Values& more) {
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

TEST_F(CudaAttentionE4m3, MatchesTheReferenceOverHeadDims) {
  for (const char* dim : {"64", "128", "256"})
    expect_routine_matches("batch_prefill_ragged",
                           with(kSmall, {{"head_dim_qk", dim}, {"head_dim_vo", dim}}));
}

TEST_F(CudaAttentionE4m3, MatchesTheReferenceOverPagesAndLayouts) {
  for (auto [layout, page_size] : {std::pair{"NHD", "16"}, {"HND", "48"}, {"NHD", "1"}})
    expect_routine_matches("batch_prefill_paged", with(kSmall, {{"num_qo_heads", "2"},
                                                                {"page_size", page_size},
                                                                {"kv_layout", layout},
                                                                {"head_scales", "true"},
                                                                {"head_dim_qk", "128"},
                                                                {"head_dim_vo", "128"}}));
}

TEST_F(CudaAttentionE4m3, SingleRequestsHaveScalesByHead) {
  test::expect_routine_matches_on_gpu("single_prefill", {{"dtype", "e4m3"},
                                                         {"qo_len", "40"},
                                                         {"kv_len", "60"},
                                                         {"num_qo_heads", "4"},
                                                         {"num_kv_heads", "2"},
                                                         {"head_scales", "true"},
                                                         {"head_dim_qk", "64"},
                                                         {"head_dim_vo", "64"}});
}

// Masks, pages, groups, lengths and output formats against each other.
TEST_F(CudaAttentionE4m3Slow, MatchesTheReferenceOverEverything) {
  for (const char* dim : {"64", "128", "256"})
    for (const char* causal : {"true", "false"}) {
      const Values values = {{"dtype", "e4m3"},       {"batch_size", "3"},   {"qo_len", "300"},
                             {"kv_len", "700"},       {"lengths", "random"}, {"causal", causal},
                             {"num_qo_heads", "6"},   {"num_kv_heads", "3"}, {"head_dim_qk", dim},
                             {"head_scales", "true"}, {"head_dim_vo", dim}};
      expect_routine_matches("batch_prefill_ragged", values);
      for (const char* layout : {"NHD", "HND"})
        for (const char* page_size : {"1", "8", "16", "48", "64", "256"})
          expect_routine_matches("batch_prefill_paged",
                                 with(values, {{"page_size", page_size}, {"kv_layout", layout}}));
    }
}

void expect_matches(const E4m3Batch& e4m3, const std::string& label) {
  ops::BatchAttentionArgs args = e4m3.args();
  expect_matches(args, label);
}

TEST_F(CudaAttentionE4m3, EveryOutputFormat) {
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBf16})
    expect_matches(
        E4m3Batch({{.qo_len = 9, .kv_len = 40}, {.qo_len = 33, .kv_len = 33}, {.qo_len = 1, .kv_len = 17}},
                  {.num_qo_heads = 4, .num_kv_heads = 2}, dtype),
        std::string(name(dtype)));
}

TEST_F(CudaAttentionE4m3, WindowsSinksAndScalesOfTheWhole) {
  E4m3Batch e4m3({{.qo_len = 30, .kv_len = 500}, {.qo_len = 3, .kv_len = 150}},
                 {.num_qo_heads = 2, .num_kv_heads = 2});
  const std::vector<float> sinks = {1, -1};
  e4m3.batch.run.sinks = TensorView::of(sinks);
  e4m3.batch.plan.options.window_left = 200;
  e4m3.batch.plan.options.q_scale = 0.5f;
  e4m3.batch.plan.options.v_scale = 0.25f;
  e4m3.batch.run.k_scale = 1.25f;
  expect_matches(e4m3, "window");
}

// Few rows on long KV: the list splits it, and the merge puts the pieces together.
TEST_F(CudaAttentionE4m3, LongKvIsSplitAndMerged) {
  expect_matches(E4m3Batch({{.qo_len = 20, .kv_len = 700}}, {.num_qo_heads = 2, .num_kv_heads = 1}), "split");
}

TEST_F(CudaAttentionE4m3, RequestsWithoutTokens) {
  expect_matches(
      E4m3Batch({{.qo_len = 2, .kv_len = 0}, {.qo_len = 0, .kv_len = 16}, {.qo_len = 5, .kv_len = 3}},
                {.num_qo_heads = 2, .num_kv_heads = 1}),
      "requests without tokens");
}

TEST_F(CudaAttentionE4m3, NanReachesWhoAttendsToIt) {
  E4m3Batch stale({{.qo_len = 3, .kv_len = 33}, {.qo_len = 1, .kv_len = 50}},
                  {.num_qo_heads = 2, .num_kv_heads = 1});
  for (const auto& [request, kv_len] : {std::pair{0, 33}, {1, 50}})
    for (int token = kv_len; token % 16 != 0; ++token) stale.batch.poison_kv_token(request, token);
  expect_matches(stale, "stale NaN behind the last token");
  for (const int window : {-1, 40}) {
    E4m3Batch seen({{.qo_len = 30, .kv_len = 300}}, {.num_qo_heads = 1, .num_kv_heads = 1});
    seen.batch.plan.options.window_left = window;
    seen.batch.poison_kv_token(0, 299);  // the last query token alone sees it
    seen.batch.poison_kv_token(0, 235);
    expect_matches(seen, "NaN, window " + std::to_string(window));
  }
  E4m3Batch queries({{.qo_len = 30, .kv_len = 70}}, {.num_qo_heads = 2, .num_kv_heads = 1});
  queries.batch.run.q.at<E4m3>(7, 1, 3) = E4m3(NAN);
  expect_matches(queries, "NaN in a query");
}

TEST_F(CudaAttentionE4m3, ScalesThatAreNotPositiveMakeNan) {
  for (auto scales : {&E4m3Batch::q_scales, &E4m3Batch::v_scales}) {
    E4m3Batch e4m3({{.qo_len = 9, .kv_len = 40}}, {.num_qo_heads = 2, .num_kv_heads = 2});
    (e4m3.*scales)[1] = -1;
    expect_matches(e4m3, "negative");
  }
}

// The norm of the error, which averages over elements, beside what rounding weights to e4m3 makes: relative
// errors up to 2^-4, whose root mean square is about 0.026, where one token more or less in a sum is none the
// worse.
TEST_F(CudaAttentionE4m3, TheErrorIsThatOfRoundedWeights) {
  E4m3Batch e4m3({{.qo_len = 64, .kv_len = 300}}, {.num_qo_heads = 1, .num_kv_heads = 1, .head_dim = 128});
  const double error = e4m3.relative_error([](const E4m3Batch& batch) { expect_matches(batch, "error"); });
  EXPECT_LT(error, 0.035);
}

// The tensor cores of a GPU would lose 18 % of such a sum, if all of it were theirs.
TEST_F(CudaAttentionE4m3Slow, LongSumsOfOneSignKeepTheirValue) {
  E4m3Batch e4m3({{.qo_len = 64, .kv_len = 16384}}, {.num_qo_heads = 1, .num_kv_heads = 1, .head_dim = 128});
  const TensorView& v = e4m3.batch.run.v;
  for (std::int64_t i = 0; i < v.size(); ++i) {
    E4m3& x = v.as<E4m3>()[i];
    x = E4m3(1.0f + 0.25f * static_cast<float>(x));
  }
  const double error = e4m3.relative_error([](const E4m3Batch& batch) { expect_matches(batch, "one sign"); });
  EXPECT_LT(error, 0.006);
}

// Maxima that keep moving: blocks are visited from the last to the first, and the scores grow that way.
// Weights then pass through the whole range that e4m3 holds them in.
TEST_F(CudaAttentionE4m3, GrowingMaximaAreFollowed) {
  E4m3Batch e4m3({{.qo_len = 70, .kv_len = 700}}, {.num_qo_heads = 1, .num_kv_heads = 1});
  const TensorView& k = e4m3.batch.run.k;
  for (std::int64_t page = 0; page < k.shape[0]; ++page)  // pages are in reverse order
    for (std::int64_t token = 0; token < 16; ++token)
      for (std::int64_t d = 0; d < 64; ++d) {
        E4m3& x = k.at<E4m3>(page, token, 0, d);
        x = E4m3(static_cast<float>(x) * 0.2f * static_cast<float>(page));
      }
  expect_matches(e4m3, "growing maxima");
}

TEST_F(CudaAttentionE4m3, ForgottenPartsFailTheCheck) {
  E4m3Batch e4m3({{.qo_len = 30, .kv_len = 35}}, {.num_qo_heads = 2, .num_kv_heads = 2});
  e4m3.batch.plan.options.sm_scale = 0.5f;  // few tokens weigh much, so that each of them shows
  ops::BatchAttentionArgs args = e4m3.args();
  const op::Operator& op = ops::batch_attention_operator(true);
  const auto passes_when = [&](auto change, auto restore) {
    BatchAttention attention;
    return test::check_run_on_gpu(op, &args, "changed", {},
                                  [&](Stream stream) {
                                    change();
                                    args.plan.device = kGpu;
                                    attention.plan(args.plan, stream);
                                    attention.run(args.run, stream);
                                    cuda::synchronize(kGpu, stream);
                                    args.plan.device = {};
                                    restore();
                                  })
        .passed;
  };
  const auto without = [&](TensorView AttentionRunArgs::*scales) {
    const TensorView given = args.run.*scales;
    return passes_when([&] { args.run.*scales = {}; }, [&] { args.run.*scales = given; });
  };
  EXPECT_TRUE(passes_when([] {}, [] {}));
  EXPECT_FALSE(without(&AttentionRunArgs::q_scales));
  EXPECT_FALSE(without(&AttentionRunArgs::k_scales));
  EXPECT_FALSE(without(&AttentionRunArgs::v_scales));
  EXPECT_FALSE(passes_when([&] { args.plan.options.mask = MaskMode::kNone; },
                           [&] { args.plan.options.mask = MaskMode::kCausal; }));
  EXPECT_FALSE(
      passes_when([&] { e4m3.batch.last_page_len[0] -= 1; }, [&] { e4m3.batch.last_page_len[0] += 1; }));
}

}  // namespace
}  // namespace strobe
