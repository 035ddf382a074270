// Planned attention on a GPU, real or emulated, against FP64.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cuda/graph.h"
#include "support/attention_batch.h"
#include "support/block_sparse_batch.h"
#include "support/cascade_batch.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using test::BatchShape;
using test::error_message;
using test::GpuRun;
using test::kGpu;
using test::RequestShape;
using testing::AllOf;
using testing::HasSubstr;
using Values = test::Values;

using CudaAttention = test::GpuTest;
using CudaAttentionErrors = test::GpuTest;
using CudaAttentionGraph = test::GpuTest;

// Plans and runs the batch on the GPU and holds it against the reference.
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

void expect_matches(AttentionBatch& batch, const std::string& label) {
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  expect_matches(args, label);
}

void expect_routine_matches(const char* name, const Values& values, const GpuRun& how = {}) {
  const op::NamedRoutine routine = op::find_routine(name);
  op::Case parameters(routine.routine.parameters);
  std::string label = name;
  for (const auto& [parameter, value] : values) {
    parameters.set(parameter, value);
    label += " --" + std::string(parameter) + " " + value;
  }
  op::Random random(1);
  const op::Problem problem = routine.routine.make(*routine.op, parameters, random);
  expect_matches(*static_cast<ops::BatchAttentionArgs*>(problem.args.get()), label, how);
}

// Small heads: few products for the emulated GPU.
Values with(Values values, const Values& more) {
  values.insert(values.end(), more.begin(), more.end());
  return values;
}
const Values kHeads = {
    {"num_qo_heads", "4"}, {"num_kv_heads", "2"}, {"head_dim_qk", "64"}, {"head_dim_vo", "64"}};

TEST_F(CudaAttention, DecodeMatchesTheReferenceOverPagesLayoutsAndGroups) {
  for (const char* page_size : {"1", "16"})
    for (const char* layout : {"NHD", "HND"})
      for (auto [heads, kv_heads] : {std::pair{"4", "4"}, {"7", "1"}})
        expect_routine_matches("batch_decode_paged", {{"batch_size", "3"},
                                                      {"kv_len", "100"},
                                                      {"lengths", "random"},
                                                      {"page_size", page_size},
                                                      {"kv_layout", layout},
                                                      {"num_qo_heads", heads},
                                                      {"num_kv_heads", kv_heads},
                                                      {"head_dim_qk", "64"},
                                                      {"head_dim_vo", "64"}});
}

TEST_F(CudaAttention, MixedBatchMatchesTheReference) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    expect_routine_matches("batch_mixed_paged", with(kHeads, {{"dtype", dtype},
                                                              {"batch_size", "4"},
                                                              {"num_prefill", "1"},
                                                              {"qo_len", "70"},
                                                              {"kv_len", "130"}}));
}

TEST_F(CudaAttention, RaggedPrefillMatchesTheReference) {
  for (const char* layout : {"NHD", "HND"})
    for (const char* causal : {"true", "false"})
      expect_routine_matches("batch_prefill_ragged", with(kHeads, {{"batch_size", "2"},
                                                                   {"qo_len", "90"},
                                                                   {"kv_len", "100"},
                                                                   {"lengths", "random"},
                                                                   {"causal", causal},
                                                                   {"kv_layout", layout}}));
}

TEST_F(CudaAttention, MatchesTheReferenceOverHeadDims) {
  for (auto [qk, vo] :
       {std::pair{"72", "40"}, {"128", "128"}, {"192", "128"}, {"256", "200"}, {"512", "512"}})
    expect_routine_matches("batch_prefill_ragged", {{"batch_size", "1"},
                                                    {"qo_len", "20"},
                                                    {"kv_len", "50"},
                                                    {"num_qo_heads", "1"},
                                                    {"num_kv_heads", "1"},
                                                    {"head_dim_qk", qk},
                                                    {"head_dim_vo", vo}});
}

TEST_F(CudaAttention, QuantisedCacheMatchesTheReference) {
  for (const char* kv_dtype : {"e4m3", "e5m2"})
    expect_routine_matches("batch_mixed_paged", with(kHeads, {{"kv_dtype", kv_dtype},
                                                              {"batch_size", "2"},
                                                              {"num_prefill", "1"},
                                                              {"qo_len", "9"},
                                                              {"kv_len", "60"}}));
}

// A decode, a prefill and a request whose pieces are merged, under one plan.
TEST_F(CudaAttention, ScalesOfARunMultiplyThoseOfThePlan) {
  AttentionBatch batch({{.qo_len = 1, .kv_len = 400}, {.qo_len = 20, .kv_len = 60}});
  batch.plan.options.k_scale = 0.25f;
  expect_matches(batch, "scales of the plan");
  batch.run.q_scale = 0.5f;
  batch.run.k_scale = 3.0f;
  batch.run.v_scale = -2.0f;
  expect_matches(batch, "scales of the run");
}

TEST_F(CudaAttention, WindowsSinksAndTransformsMatchTheReference) {
  for (const Values& feature :
       {Values{{"window_left", "0"}}, Values{{"window_left", "50"}, {"sinks", "true"}},
        Values{{"logits_soft_cap", "30"}, {"pos_encoding", "alibi"}, {"sinks", "true"}},
        Values{{"pos_encoding", "rope"}},
        Values{{"pos_encoding", "rope"}, {"dtype", "f32"}, {"window_left", "20"}}})
    expect_routine_matches(
        "batch_mixed_paged",
        with(with(kHeads, {{"batch_size", "2"}, {"num_prefill", "1"}, {"qo_len", "70"}, {"kv_len", "140"}}),
             feature));
}

TEST_F(CudaAttention, SingleRequestsMatchTheReference) {
  for (const char* dtype : {"f32", "bf16"}) {
    const Values values = with(kHeads, {{"dtype", dtype}, {"kv_len", "75"}, {"kv_layout", "NHD"}});
    test::expect_routine_matches_on_gpu("single_prefill", with(values, {{"qo_len", "40"}}));
    test::expect_routine_matches_on_gpu("single_decode", values);
  }
}

TEST_F(CudaAttention, LongKvIsSplitAndMerged) {
  for (const char* deterministic : {"false", "true"})
    expect_routine_matches("batch_decode_paged", {{"batch_size", "2"},
                                                  {"kv_len", "3000"},
                                                  {"lengths", "skewed"},
                                                  {"num_qo_heads", "2"},
                                                  {"num_kv_heads", "1"},
                                                  {"head_dim_qk", "64"},
                                                  {"head_dim_vo", "64"},
                                                  {"sinks", "true"},
                                                  {"deterministic", deterministic}});
}

TEST_F(CudaAttention, GroupsOfMoreHeadsThanATileHasRows) {
  expect_routine_matches("batch_decode_paged", {{"batch_size", "1"},
                                                {"kv_len", "40"},
                                                {"num_qo_heads", "150"},
                                                {"num_kv_heads", "1"},
                                                {"head_dim_qk", "64"},
                                                {"head_dim_vo", "64"}});
}

TEST_F(CudaAttention, UnalignedOperandsTakeASlowerKernel) {
  for (const Values& feature :
       {Values{}, Values{{"kv_dtype", "e4m3"}, {"logits_soft_cap", "20"}}, Values{{"pos_encoding", "rope"}}})
    expect_routine_matches(
        "batch_mixed_paged",
        with(with(kHeads, {{"batch_size", "2"}, {"num_prefill", "1"}, {"qo_len", "9"}, {"kv_len", "60"}}),
             feature),
        {.shift = 2});
}

TEST_F(CudaAttention, RopeOnTheFlyMatchesTheReference) {
  for (bool interleave : {false, true})
    for (Dtype kv_dtype : {Dtype::kBf16, Dtype::kE4m3}) {
      AttentionBatch batch({{.qo_len = 40, .kv_len = 90}, {.qo_len = 1, .kv_len = 33}},
                           {.head_dim = 80, .kv_dtype = kv_dtype});
      batch.plan.options.pos_encoding = PosEncoding::kRope;
      batch.plan.options.rope_interleave = interleave;
      expect_matches(batch, std::string("RoPE on ") + std::string(name(kv_dtype)));
    }
}

TEST_F(CudaAttention, OtherPairsOfRopeFailTheCheck) {
  AttentionBatch batch({{.qo_len = 10, .kv_len = 30}});
  batch.plan.options.pos_encoding = PosEncoding::kRope;
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  const op::CheckResult result =
      test::check_run_on_gpu(ops::batch_attention_operator(true), &args, "pairs", {}, [&](Stream stream) {
        AttentionPlanArgs plan = args.plan;
        plan.device = kGpu;
        plan.options.rope_interleave = true;
        BatchAttention attention;
        attention.plan(plan, stream);
        attention.run(args.run, stream);
        cuda::synchronize(kGpu, stream);
      });
  EXPECT_FALSE(result.passed);
}

TEST_F(CudaAttention, CustomMaskMatchesTheReference) {
  for (int window : {-1, 20}) {
    AttentionBatch batch(
        {{.qo_len = 9, .kv_len = 33}, {.qo_len = 1, .kv_len = 7}, {.qo_len = 40, .kv_len = 80}});
    batch.plan.options.window_left = window;
    batch.set_random_custom_mask();
    expect_matches(batch, "custom mask");
  }
}

TEST_F(CudaAttention, RequestsWithoutTokens) {
  AttentionBatch batch({{.qo_len = 2, .kv_len = 0}, {.qo_len = 0, .kv_len = 16}, {.qo_len = 5, .kv_len = 3}});
  expect_matches(batch, "requests without tokens");
  AttentionBatch none({});
  expect_matches(none, "no requests");
}

// Pages beyond a request's last token hold whatever was there before.
TEST_F(CudaAttention, StaleNanBehindTheLastTokenNeverMatters) {
  AttentionBatch batch({{.qo_len = 3, .kv_len = 33}, {.qo_len = 1, .kv_len = 50}});
  for (const auto& [request, kv_len] : {std::pair{0, 33}, {1, 50}})
    for (int token = kv_len; token % 16 != 0; ++token) batch.poison_kv_token(request, token);
  expect_matches(batch, "stale NaN");
}

TEST_F(CudaAttention, MaskedNanAndInfNeverMatter) {
  for (Dtype dtype : {Dtype::kF32, Dtype::kBf16}) {
    AttentionBatch batch({{.qo_len = 30, .kv_len = 70}}, {.dtype = dtype, .kv_dtype = dtype});
    batch.poison_kv_token(0, 69);  // the last query token alone sees it
    expect_matches(batch, std::string("masked NaN, ") + std::string(name(dtype)));
  }
  AttentionBatch batch({{.qo_len = 30, .kv_len = 70}});
  const std::int32_t page = batch.kv_indices[4];  // tokens 64 …
  batch.run.v.at<Bf16>(page, 3, 1, 5) = Bf16(std::numeric_limits<float>::infinity());
  expect_matches(batch, "masked Inf");
}

TEST_F(CudaAttention, NanInQueriesStaysInItsRows) {
  AttentionBatch batch({{.qo_len = 30, .kv_len = 70}});
  batch.run.q.at<Bf16>(7, 1, 3) = Bf16(NAN);
  expect_matches(batch, "NaN in a query");
}

TEST_F(CudaAttention, AWrongPageFailsTheCheck) {
  AttentionBatch batch({{.qo_len = 20, .kv_len = 60}});
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  const op::Operator& op = ops::batch_attention_operator(true);
  BatchAttention attention;
  const std::int32_t right = batch.kv_indices[1];
  const op::CheckResult result = test::check_run_on_gpu(op, &args, "wrong page", {}, [&](Stream stream) {
    batch.kv_indices[1] = batch.kv_indices[0];
    args.plan.device = kGpu;
    attention.plan(args.plan, stream);
    attention.run(args.run, stream);
    cuda::synchronize(kGpu, stream);
    batch.kv_indices[1] = right;
  });
  EXPECT_FALSE(result.passed);
}

// The run waits for the plan's copy, and the next plan's copy for the run.
TEST_F(CudaAttention, AnotherStreamFollowsOnTheLast) {
  AttentionBatch batch({{.qo_len = 20, .kv_len = 60}, {.qo_len = 1, .kv_len = 400}});
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  const op::Operator& op = ops::batch_attention_operator(true);
  const cuda::OwnedStream planner(kGpu);
  BatchAttention attention;
  const op::CheckResult result = test::check_run_on_gpu(op, &args, "streams", {}, [&](Stream stream) {
    args.plan.device = kGpu;
    attention.plan(args.plan, Stream(planner));
    attention.run(args.run, stream);
    std::ranges::reverse(batch.kv_indices);
    attention.plan(args.plan, Stream(planner));
    planner.synchronize();
    cuda::synchronize(kGpu, stream);
    std::ranges::reverse(batch.kv_indices);
    args.plan.device = {};
  });
  EXPECT_TRUE(result.passed) << result.worst;
}

// The batch's operands on the GPU, planned and run there again and again.
class GpuBatch {
 public:
  explicit GpuBatch(AttentionBatch& batch) : batch_(batch), args_{batch.plan, batch.run} {
    const op::Operator& op = ops::batch_attention_operator(true);
    for (const op::Operand& operand : op.operands) {
      TensorView& view = operand.view(&args_);
      if (!view.given() || operand.on_host) continue;
      copies_.push_back(std::make_unique<test::DeviceCopy>(view, 0));
      view = copies_.back()->view();
      if (operand.name == "out") out_ = copies_.back().get();
    }
    args_.plan.device = kGpu;
  }
  AttentionPlanArgs& plan() { return args_.plan; }
  AttentionRunArgs& run() { return args_.run; }

  // The bits of a request's rows, as the stream leaves them.
  std::vector<char> bits(int request, const cuda::OwnedStream& stream) {
    stream.synchronize();
    out_->download(true);
    const TensorView rows = batch_.run.out.slice(0, batch_.qo_indptr[static_cast<std::size_t>(request)],
                                                 batch_.qo_indptr[static_cast<std::size_t>(request) + 1]);
    const auto* bytes = static_cast<const char*>(rows.data);
    return {bytes, bytes + rows.bytes()};
  }

 private:
  AttentionBatch& batch_;
  ops::BatchAttentionArgs args_;
  std::vector<std::unique_ptr<test::DeviceCopy>> copies_;
  test::DeviceCopy* out_ = nullptr;
};

std::vector<char> bits_of_request(AttentionBatch& batch, int request) {
  const cuda::OwnedStream stream(kGpu);
  GpuBatch gpu(batch);
  BatchAttention attention;
  attention.plan(gpu.plan(), Stream(stream));
  attention.run(gpu.run(), Stream(stream));
  return gpu.bits(request, stream);
}

TEST_F(CudaAttention, DeterministicBitsDependOnTheRequestAlone) {
  const RequestShape request = {.qo_len = 1, .kv_len = 2500};
  std::vector<char> alone;
  for (int round = 0; round < 3; ++round) {
    std::vector<RequestShape> shapes = {request};
    for (int i = 0; i < round; ++i) shapes.push_back({.qo_len = 1 + 40 * i, .kv_len = 100 + 200 * i});
    AttentionBatch batch(shapes,
                         {.num_qo_heads = 2, .num_kv_heads = 1, .seed = static_cast<std::uint64_t>(round)});
    batch.plan.options.deterministic = true;
    batch.copy_request(0, AttentionBatch({request}, {.num_qo_heads = 2, .num_kv_heads = 1, .seed = 99}));
    const std::vector<char> bits = bits_of_request(batch, 0);
    if (round == 0) alone = bits;
    EXPECT_EQ(bits, alone) << "with " << round << " neighbours";
  }
}

TEST_F(CudaAttention, CascadeEqualsAttentionOverTheConcatenation) {
  test::CascadeBatch batch;
  ops::BatchAttentionArgs args{batch.flat.plan, batch.flat.run};
  MultiLevelCascadeAttention cascade;
  const op::CheckResult result =
      test::check_run_on_gpu(ops::batch_attention_operator(true), &args, "cascade", {}, [&](Stream stream) {
        AttentionPlanArgs common = args.plan;
        common.device = kGpu;
        cascade.plan(batch.levels(), common, stream);
        cascade.run(args.run, stream);
        cuda::synchronize(kGpu, stream);
      });
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaAttention, BlocksOfOneSizeEqualDenseAttentionWithAMask) {
  test::FixedBlocks blocks;
  ops::BatchAttentionArgs args{blocks.batch.plan, blocks.batch.run};
  const op::CheckResult result = test::check_run_on_gpu(ops::batch_attention_operator(true), &args,
                                                        "block sparse", {}, [&](Stream stream) {
                                                          AttentionPlanArgs common = blocks.batch.common();
                                                          common.device = kGpu;
                                                          AttentionRunArgs run = args.run;
                                                          run.k = run.k.reshape({96, 2, 64});
                                                          run.v = run.v.reshape({96, 2, 64});
                                                          BlockSparseAttention attention;
                                                          attention.plan(blocks.pattern(), common, stream);
                                                          attention.run(run, stream);
                                                          cuda::synchronize(kGpu, stream);
                                                        });
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaAttention, VariableBlocksEqualDenseAttentionWithAMask) {
  test::VariableBlocks blocks;
  ops::BatchAttentionArgs args{blocks.batch.plan, blocks.batch.run};
  const test::DeviceCopy k(blocks.k, 0), v(blocks.v, 0);
  const op::CheckResult result = test::check_run_on_gpu(
      ops::batch_attention_operator(true), &args, "variable blocks", {}, [&](Stream stream) {
        AttentionPlanArgs common = blocks.common();
        common.device = kGpu;
        const AttentionRunArgs run = {.q = args.run.q.reshape({4, 50, 64}),
                                      .k = k.view(),
                                      .v = v.view(),
                                      .sinks = {},
                                      .out = args.run.out.reshape({4, 50, 64}),
                                      .lse = args.run.lse.reshape({4, 50})};
        BlockSparseAttention attention;
        attention.plan(blocks.pattern(), common, stream);
        attention.run(run, stream);
        cuda::synchronize(kGpu, stream);
      });
  EXPECT_TRUE(result.passed) << result.worst;
}

// One graph, recorded under the plan of one batch, serves batches of other lengths within the capacity.
void expect_replays(const AttentionOptions& options, const std::vector<RequestShape>& at_capture) {
  const std::vector<std::vector<RequestShape>> rounds = {
      {{.qo_len = 1, .kv_len = 40}, {.qo_len = 1, .kv_len = 1200}},
      {{.qo_len = 1, .kv_len = 1200}, {.qo_len = 1, .kv_len = 3}},
      {{.qo_len = 1, .kv_len = 17}}};
  const BatchShape shape = {.num_qo_heads = 2, .num_kv_heads = 1};
  AttentionBatch first(rounds[0], shape);
  const cuda::OwnedStream stream(kGpu);
  GpuBatch gpu(first);
  gpu.plan().options = options;
  const AttentionCapacity capacity = {
      .max_batch_size = 2, .max_query_tokens = 2, .max_qo_len = 1, .max_kv_tokens = 1600};
  gpu.plan().capacity = capacity;
  const auto plan_of = [&](AttentionBatch& batch) {
    AttentionPlanArgs plan = gpu.plan();
    plan.qo_indptr = batch.plan.qo_indptr;
    plan.kv_indptr = batch.plan.kv_indptr;
    plan.kv_indices = batch.plan.kv_indices;
    plan.last_page_len = batch.plan.last_page_len;
    return plan;
  };
  AttentionBatch recorded(at_capture, shape);
  BatchAttention attention;
  attention.plan(plan_of(recorded), Stream(stream));
  attention.run(gpu.run(), Stream(stream));  // loads the kernels
  stream.synchronize();
  const cuda::Graph graph(kGpu, stream, [&] { attention.run(gpu.run(), Stream(stream)); });
  for (const std::vector<RequestShape>& requests : rounds) {
    // The same cache and page numbers below its size, other lengths.
    AttentionBatch batch(requests, shape);
    AttentionPlanArgs plan = plan_of(batch);
    attention.plan(plan, Stream(stream));
    graph.launch(stream);
    const std::vector<char> replayed = gpu.bits(0, stream);

    BatchAttention fresh;
    plan.capacity = {};
    AttentionRunArgs run = gpu.run();
    run.q = run.q.slice(0, 0, batch.qo_indptr.back());
    run.out = run.out.slice(0, 0, batch.qo_indptr.back());
    run.lse = run.lse.slice(0, 0, batch.qo_indptr.back());
    plan.options.deterministic = false;
    fresh.plan(plan, Stream(stream));
    fresh.run(run, Stream(stream));
    EXPECT_EQ(replayed, gpu.bits(0, stream));
  }
}

TEST_F(CudaAttentionGraph, ReplaysWithOtherLengths) {
  expect_replays({}, {{.qo_len = 1, .kv_len = 40}, {.qo_len = 1, .kv_len = 1200}});
}

// Nothing is cut at the capture: one token for each of the GPU's blocks at the most.
TEST_F(CudaAttentionGraph, ReplaysCutRowsThatWereWholeAtTheCapture) {
  expect_replays({}, {{.qo_len = 1, .kv_len = 1}});
  expect_replays({.pos_encoding = PosEncoding::kRope}, {{.qo_len = 1, .kv_len = 1}});
}

TEST_F(CudaAttentionGraph, MisuseIsAnError) {
  AttentionBatch batch({{.qo_len = 1, .kv_len = 40}, {.qo_len = 1, .kv_len = 60}},
                       {.num_qo_heads = 2, .num_kv_heads = 1});
  const cuda::OwnedStream stream(kGpu), other(kGpu);
  GpuBatch gpu(batch);
  gpu.plan().capacity = {.max_batch_size = 2, .max_query_tokens = 2, .max_qo_len = 1, .max_kv_tokens = 128};
  BatchAttention attention;
  const auto plan_error = [&](const AttentionPlanArgs& plan) {
    return error_message([&] { attention.plan(plan, Stream(stream)); });
  };
  attention.plan(gpu.plan(), Stream(stream));
  attention.run(gpu.run(), Stream(stream));
  stream.synchronize();
  const cuda::Graph graph(kGpu, stream, [&] {
    EXPECT_THAT(plan_error(gpu.plan()), HasSubstr("expected a stream that is not being captured"));
    attention.plan(gpu.plan(), Stream(other));
    attention.run(gpu.run(), Stream(stream));
  });
  AttentionPlanArgs plan = gpu.plan();
  plan.options.sm_scale = 2;
  EXPECT_THAT(plan_error(plan), HasSubstr("a CUDA graph holds a run of this object"));
  plan = gpu.plan();
  plan.capacity.max_batch_size = 3;
  EXPECT_THAT(plan_error(plan), HasSubstr("a CUDA graph holds a run of this object"));
  AttentionBatch large({{.qo_len = 1, .kv_len = 40}, {.qo_len = 1, .kv_len = 90}});
  plan = gpu.plan();
  plan.kv_indptr = large.plan.kv_indptr;
  plan.kv_indices = large.plan.kv_indices;
  plan.last_page_len = large.plan.last_page_len;
  EXPECT_THAT(plan_error(plan),
              HasSubstr("expected at most the declared max_kv_tokens = 128, got 144 KV tokens"));
  batch.kv_indices[0] = 1000;
  EXPECT_THAT(plan_error(gpu.plan()), HasSubstr("kv_indices: expected page numbers in [0, num_pages = 7)"));
}

TEST_F(CudaAttentionErrors, PlannedForAnotherDevice) {
  AttentionBatch batch({{.qo_len = 4, .kv_len = 33}});
  BatchAttention attention;
  attention.plan(batch.plan);
  GpuBatch gpu(batch);
  EXPECT_THAT(error_message([&] { attention.run(gpu.run()); }),
              HasSubstr("q: expected device cpu as planned, got cuda:0"));
  gpu.plan().capacity = {.max_batch_size = 1, .max_query_tokens = 4, .max_kv_tokens = 48};
  gpu.plan().device = {};
  EXPECT_THAT(error_message([&] { attention.plan(gpu.plan()); }),
              HasSubstr("capacity: expected none on the CPU"));
}

TEST_F(CudaAttentionErrors, PageNumbersBeyondTheCache) {
  AttentionBatch batch({{.qo_len = 4, .kv_len = 33}});
  batch.kv_indices[2] = 1000;
  GpuBatch gpu(batch);
  BatchAttention attention;
  attention.plan(gpu.plan());
  EXPECT_THAT(error_message([&] { attention.run(gpu.run()); }),
              HasSubstr("kv_indices: expected page numbers in [0, num_pages = 3), got 1000"));
}

TEST_F(CudaAttentionErrors, WorkspaceTooSmall) {
  AttentionBatch batch({{.qo_len = 1, .kv_len = 3000}}, {.num_qo_heads = 2, .num_kv_heads = 1});
  GpuBatch gpu(batch);
  BatchAttention attention;
  attention.plan(gpu.plan());
  const std::size_t bytes = attention.workspace_bytes();
  ASSERT_GT(bytes, 0u);
  const cuda::DeviceBuffer workspace(kGpu, bytes);
  const auto view = [&](std::size_t size) {
    return TensorView(workspace.data(), Dtype::kU8, {static_cast<std::int64_t>(size)}, kGpu);
  };
  gpu.plan().workspace = view(bytes - 1);
  EXPECT_THAT(error_message([&] { attention.plan(gpu.plan()); }),
              AllOf(HasSubstr("workspace: expected at least " + std::to_string(bytes)),
                    HasSubstr("got " + std::to_string(bytes - 1))));
  // Exactly as many as it says are enough: the emulated GPU and its memory checker see every byte.
  gpu.plan().workspace = view(bytes);
  attention.plan(gpu.plan());
  attention.run(gpu.run());
  cuda::synchronize(kGpu, {});
}

TEST_F(CudaAttentionErrors, MaskOnTheHost) {
  AttentionBatch batch({{.qo_len = 4, .kv_len = 33}});
  batch.set_random_custom_mask();
  batch.plan.device = kGpu;
  BatchAttention attention;
  EXPECT_THAT(error_message([&] { attention.plan(batch.plan); }),
              HasSubstr("custom_mask: expected device cuda:0 (that of the plan)"));
}

}  // namespace
}  // namespace strobe
