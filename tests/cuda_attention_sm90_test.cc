// Hopper's attention kernel (backend cuda/sm90, forced) against FP64.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <sstream>

#include "core/log.h"
#include "cuda/graph.h"
#include "ops/attention_sm90_cuda.h"
#include "support/attention_batch.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using test::BatchShape;
using test::GpuRun;
using test::kGpu;
using test::RequestShape;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Values = test::Values;

class CudaAttentionSm90 : public test::GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped() && !cuda::serves_sm90(kGpu)) GTEST_SKIP() << "no Hopper, or STROBE_DISABLE_SM90 is set";
  }
};

using CudaAttentionSm90Slow = CudaAttentionSm90;

Launch forced(Stream stream) { return {stream, Backend::kCudaSm90}; }

op::CheckResult check_batch(ops::BatchAttentionArgs& args, const std::string& label, const GpuRun& how = {}) {
  const op::Operator& op = ops::batch_attention_operator(args.paged());
  BatchAttention attention;
  return test::check_run_on_gpu(op, &args, label, how, [&](Stream stream) {
    args.plan.device = kGpu;
    attention.plan(args.plan, forced(stream));
    attention.run(args.run, forced(stream));
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

// Heads, and requests of one tile: few products for the emulated GPU.
const Values kSmall = {
    {"batch_size", "1"}, {"qo_len", "20"}, {"kv_len", "140"}, {"num_qo_heads", "1"}, {"num_kv_heads", "1"}};

Values with(Values values, const Values& more) {
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

TEST_F(CudaAttentionSm90, MatchesTheReferenceOverHeadDims) {
  for (auto [qk, vo] : {std::pair{"64", "64"}, {"96", "96"}, {"128", "128"}, {"192", "128"}, {"256", "256"}})
    expect_routine_matches("batch_prefill_ragged", with(kSmall, {{"head_dim_qk", qk}, {"head_dim_vo", vo}}));
}

TEST_F(CudaAttentionSm90, MatchesTheReferenceInF16WithoutMask) {
  expect_routine_matches(
      "batch_prefill_ragged",
      with(kSmall, {{"dtype", "f16"}, {"causal", "false"}, {"head_dim_qk", "64"}, {"head_dim_vo", "64"}}));
}

TEST_F(CudaAttentionSm90, MatchesTheReferenceOverPagesAndLayouts) {
  for (const char* layout : {"NHD", "HND"})
    for (const char* page_size : {"1", "16", "48"})
      expect_routine_matches("batch_prefill_paged", with(kSmall, {{"num_kv_heads", "1"},
                                                                  {"num_qo_heads", "2"},
                                                                  {"page_size", page_size},
                                                                  {"kv_layout", layout},
                                                                  {"head_dim_qk", "128"},
                                                                  {"head_dim_vo", "128"}}));
}

// Head dims, types, masks, pages and groups against each other.
TEST_F(CudaAttentionSm90Slow, MatchesTheReferenceOverEverything) {
  for (const char* dtype : {"f16", "bf16"})
    for (auto [qk, vo] :
         {std::pair{"64", "64"}, {"96", "96"}, {"128", "128"}, {"192", "128"}, {"256", "256"}})
      for (const char* causal : {"true", "false"}) {
        const Values values = {{"dtype", dtype},      {"batch_size", "3"},   {"qo_len", "300"},
                               {"kv_len", "700"},     {"lengths", "random"}, {"causal", causal},
                               {"num_qo_heads", "6"}, {"num_kv_heads", "3"}, {"head_dim_qk", qk},
                               {"head_dim_vo", vo}};
        expect_routine_matches("batch_prefill_ragged", values);
        for (const char* layout : {"NHD", "HND"})
          for (const char* page_size : {"1", "8", "16", "48", "64", "256"})
            expect_routine_matches("batch_prefill_paged",
                                   with(values, {{"page_size", page_size}, {"kv_layout", layout}}));
      }
}

TEST_F(CudaAttentionSm90Slow, LongKvIsSplitAndMerged) {
  for (const bool deterministic : {false, true}) {
    AttentionBatch batch({{.qo_len = 20, .kv_len = 9000}},
                         {.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64});
    batch.plan.options.deterministic = deterministic;
    expect_matches(batch, deterministic ? "split, deterministic" : "split");
  }
}

// Groups whose packs are a part of them, and single heads.
TEST_F(CudaAttentionSm90, GroupsOfAnySize) {
  for (const int group : {6, 7}) {
    AttentionBatch batch({{.qo_len = 9, .kv_len = 40}},
                         {.num_qo_heads = group, .num_kv_heads = 1, .head_dim = 64});
    expect_matches(batch, "group " + std::to_string(group));
  }
}

TEST_F(CudaAttentionSm90Slow, GroupsOfAnySize) {
  for (const int group : {1, 3, 4, 6, 8, 48, 128}) {
    AttentionBatch batch({{.qo_len = 9, .kv_len = 140}, {.qo_len = 133, .kv_len = 133}},
                         {.num_qo_heads = 2 * group, .num_kv_heads = 2, .head_dim = 64});
    expect_matches(batch, "group " + std::to_string(group));
  }
}

TEST_F(CudaAttentionSm90, WindowsAndSinks) {
  const std::vector<float> sinks = {1, -1};
  for (const int window : {0, 200}) {
    AttentionBatch batch({{.qo_len = 30, .kv_len = 500}, {.qo_len = 3, .kv_len = 150}},
                         {.num_qo_heads = 2, .num_kv_heads = 2, .head_dim = 64});
    batch.plan.options.window_left = window;
    batch.plan.options.v_scale = 0.5f;
    batch.run.sinks = TensorView::of(sinks);
    expect_matches(batch, "window " + std::to_string(window));
  }
}

TEST_F(CudaAttentionSm90, RequestsWithoutTokens) {
  AttentionBatch batch({{.qo_len = 2, .kv_len = 0}, {.qo_len = 0, .kv_len = 16}, {.qo_len = 5, .kv_len = 3}});
  expect_matches(batch, "requests without tokens");
  AttentionBatch none({});
  expect_matches(none, "no requests");
}

// Few rows on long KV: the list splits it, and the merge puts the pieces together.
TEST_F(CudaAttentionSm90, LongKvIsSplitAndMerged) {
  AttentionBatch batch({{.qo_len = 20, .kv_len = 700}},
                       {.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64});
  expect_matches(batch, "split");
}

// A shared prefix: several tiles of one request without a mask, all of them split.
TEST_F(CudaAttentionSm90, ASharedPrefixIsSplitAndMerged) {
  AttentionBatch batch({{.qo_len = 40, .kv_len = 608}},
                       {.num_qo_heads = 4, .num_kv_heads = 1, .head_dim = 128});
  batch.plan.options.mask = MaskMode::kNone;
  expect_matches(batch, "shared prefix");
}

TEST_F(CudaAttentionSm90Slow, ALongSharedPrefixIsSplitAndMerged) {
  AttentionBatch batch({{.qo_len = 256, .kv_len = 32768}},
                       {.num_qo_heads = 32, .num_kv_heads = 8, .head_dim = 128});
  batch.plan.options.mask = MaskMode::kNone;
  expect_matches(batch, "long shared prefix");
}

// Behind a request's last token lies whatever was there before.
TEST_F(CudaAttentionSm90, StaleNanBehindTheLastTokenNeverMatters) {
  AttentionBatch batch({{.qo_len = 3, .kv_len = 33}, {.qo_len = 1, .kv_len = 50}});
  for (const auto& [request, kv_len] : {std::pair{0, 33}, {1, 50}})
    for (int token = kv_len; token % 16 != 0; ++token) batch.poison_kv_token(request, token);
  expect_matches(batch, "stale NaN");
}

TEST_F(CudaAttentionSm90, NanAndInfReachWhoAttendsToThem) {
  for (const int window : {-1, 40}) {
    AttentionBatch batch({{.qo_len = 30, .kv_len = 300}}, {.num_qo_heads = 1, .num_kv_heads = 1});
    batch.plan.options.window_left = window;
    batch.poison_kv_token(0, 299);  // the last query token alone sees it
    batch.poison_kv_token(0, 235);
    expect_matches(batch, "NaN, window " + std::to_string(window));
  }
  AttentionBatch batch({{.qo_len = 30, .kv_len = 70}});
  const std::int32_t page = batch.kv_indices[4];  // tokens 64 …
  batch.run.v.at<Bf16>(page, 3, 1, 5) = Bf16(std::numeric_limits<float>::infinity());
  expect_matches(batch, "Inf");
  AttentionBatch queries({{.qo_len = 30, .kv_len = 70}});
  queries.run.q.at<Bf16>(7, 1, 3) = Bf16(NAN);
  expect_matches(queries, "NaN in a query");
}

// Maxima that keep moving: blocks are visited from the last to the first, and the scores grow that way.
TEST_F(CudaAttentionSm90, GrowingMaximaAreFollowed) {
  AttentionBatch batch({{.qo_len = 70, .kv_len = 700}},
                       {.num_qo_heads = 1, .num_kv_heads = 1, .head_dim = 64});
  for (std::int64_t page = 0; page < batch.run.k.shape[0]; ++page)  // pages are in reverse order
    for (std::int64_t token = 0; token < 16; ++token)
      for (std::int64_t d = 0; d < 64; ++d) {
        Bf16& x = batch.run.k.at<Bf16>(page, token, 0, d);
        x = Bf16(static_cast<float>(x) * 0.4f * static_cast<float>(page));
      }
  expect_matches(batch, "growing maxima");
}

TEST_F(CudaAttentionSm90, ForgottenPartsFailTheCheck) {
  AttentionBatch batch({{.qo_len = 30, .kv_len = 100}}, {.num_qo_heads = 1, .num_kv_heads = 1});
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  const op::Operator& op = ops::batch_attention_operator(true);
  const auto passes_when = [&](auto change, auto restore) {
    BatchAttention attention;
    return test::check_run_on_gpu(op, &args, "changed", {},
                                  [&](Stream stream) {
                                    change();
                                    args.plan.device = kGpu;
                                    attention.plan(args.plan, forced(stream));
                                    attention.run(args.run, forced(stream));
                                    cuda::synchronize(kGpu, stream);
                                    args.plan.device = {};
                                    restore();
                                  })
        .passed;
  };
  const std::int32_t right = batch.kv_indices[1];
  EXPECT_FALSE(
      passes_when([&] { batch.kv_indices[1] = batch.kv_indices[0]; }, [&] { batch.kv_indices[1] = right; }));
  EXPECT_FALSE(passes_when([&] { batch.last_page_len[0] -= 1; }, [&] { batch.last_page_len[0] += 1; }));
  EXPECT_FALSE(passes_when([&] { args.plan.options.mask = MaskMode::kNone; },
                           [&] { args.plan.options.mask = MaskMode::kCausal; }));
  EXPECT_TRUE(passes_when([] {}, [] {}));
}

// Copies of boxes begin at multiples of 16 bytes; the log names the kernels that a run takes.
TEST_F(CudaAttentionSm90, UnalignedOperandsTakeTheGenericKernelAndTheLogSaysSo) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("strobe_sm90_log_" + std::to_string(getpid()));
  AttentionBatch batch({{.qo_len = 30, .kv_len = 50}}, {.num_qo_heads = 1, .num_kv_heads = 1});
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  const auto log_of = [&](std::size_t shift) {
    std::filesystem::remove(path);
    log::configure(1, path.string());
    expect_matches(args, "shifted by " + std::to_string(shift), {.shift = shift});
    log::configure(0, "stdout");
    std::ostringstream content;
    content << std::ifstream(path).rdbuf();
    std::filesystem::remove(path);
    return content.str().substr(content.str().find('\n') + 1);  // plan's record is the first
  };
  EXPECT_THAT(log_of(0), HasSubstr("cuda/sm90"));
  EXPECT_THAT(log_of(2), AllOf(HasSubstr("cuda/sm80"), Not(HasSubstr("cuda/sm90"))));
}

// Of a tile, some groups of rows see nothing of its last block of KV, and some have no rows.
TEST_F(CudaAttentionSm90, RowsThatSeeLessThanTheirTile) {
  for (const int head_dim : {64, 256}) {
    AttentionBatch batch({{.qo_len = 150, .kv_len = 330}, {.qo_len = 60, .kv_len = 300}},
                         {.num_qo_heads = 1, .num_kv_heads = 1, .head_dim = head_dim});
    expect_matches(batch, "rows at a distance");
  }
}

// A cascade's levels, which are merged, give f32; of request 0 the KV is split.
TEST_F(CudaAttentionSm90, F32Outputs) {
  for (const int head_dim : {128, 256}) {
    AttentionBatch batch({{.qo_len = 70, .kv_len = 700}, {.qo_len = 1, .kv_len = 40}},
                         {.num_qo_heads = 4, .num_kv_heads = 1, .head_dim = head_dim});
    batch.plan.options.mask = MaskMode::kNone;
    const Tensor out(Dtype::kF32, {71, 4, head_dim});
    batch.run.out = out;
    expect_matches(batch, "f32");
  }
}

TEST_F(CudaAttentionSm90, SingleRequests) {
  test::expect_routine_matches_on_gpu("single_prefill", {{"qo_len", "40"},
                                                         {"kv_len", "60"},
                                                         {"num_qo_heads", "1"},
                                                         {"num_kv_heads", "1"},
                                                         {"head_dim_qk", "64"},
                                                         {"head_dim_vo", "64"}});
}

// The batch's operands on the GPU, planned and run there again and again.
class GpuBatch {
 public:
  explicit GpuBatch(AttentionBatch& batch) : batch_(batch), args_{batch.plan, batch.run} {
    for (const op::Operand& operand : ops::batch_attention_operator(true).operands) {
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
    const auto r = static_cast<std::size_t>(request);
    const TensorView rows = batch_.run.out.slice(0, batch_.qo_indptr[r], batch_.qo_indptr[r + 1]);
    const auto* bytes = static_cast<const char*>(rows.data);
    return {bytes, bytes + rows.bytes()};
  }

 private:
  AttentionBatch& batch_;
  ops::BatchAttentionArgs args_;
  std::vector<std::unique_ptr<test::DeviceCopy>> copies_;
  test::DeviceCopy* out_ = nullptr;
};

TEST_F(CudaAttentionSm90, DeterministicBitsDependOnTheRequestAlone) {
  const RequestShape request = {.qo_len = 30, .kv_len = 200};
  const BatchShape shape = {.num_qo_heads = 2, .num_kv_heads = 1};
  std::vector<char> alone;
  for (int round = 0; round < 3; ++round) {
    std::vector<RequestShape> shapes = {request};
    for (int i = 0; i < round; ++i) shapes.push_back({.qo_len = 1 + 30 * i, .kv_len = 40 + 100 * i});
    AttentionBatch batch(shapes, shape);
    batch.plan.options.deterministic = true;
    batch.copy_request(0, AttentionBatch({request}, {.num_qo_heads = 2, .num_kv_heads = 1, .seed = 99}));
    const cuda::OwnedStream stream(kGpu);
    GpuBatch gpu(batch);
    BatchAttention attention;
    attention.plan(gpu.plan(), forced(stream));
    attention.run(gpu.run(), forced(stream));
    const std::vector<char> bits = gpu.bits(0, stream);
    if (round == 0) alone = bits;
    EXPECT_EQ(bits, alone) << "with " << round << " neighbours";
  }
}

// One graph serves batches of other lengths, within the capacity, again and again.
TEST_F(CudaAttentionSm90, AGraphReplaysWithOtherLengths) {
  const std::vector<std::vector<RequestShape>> rounds = {
      {{.qo_len = 70, .kv_len = 90}, {.qo_len = 40, .kv_len = 300}},
      {{.qo_len = 100, .kv_len = 200}, {.qo_len = 10, .kv_len = 30}},
      {{.qo_len = 17, .kv_len = 17}}};
  const BatchShape shape = {.num_qo_heads = 2, .num_kv_heads = 1};
  AttentionBatch first(rounds[0], shape);
  const cuda::OwnedStream stream(kGpu);
  GpuBatch gpu(first);
  gpu.plan().capacity = {
      .max_batch_size = 2, .max_query_tokens = 110, .max_qo_len = 110, .max_kv_tokens = 400};
  BatchAttention attention;
  attention.plan(gpu.plan(), forced(stream));
  attention.run(gpu.run(), forced(stream));  // loads the kernels
  stream.synchronize();
  const cuda::Graph graph(kGpu, stream, [&] { attention.run(gpu.run(), forced(stream)); });
  for (const std::vector<RequestShape>& requests : rounds) {
    AttentionBatch batch(requests, shape);
    AttentionPlanArgs plan = gpu.plan();
    plan.qo_indptr = batch.plan.qo_indptr;
    plan.kv_indptr = batch.plan.kv_indptr;
    plan.kv_indices = batch.plan.kv_indices;
    plan.last_page_len = batch.plan.last_page_len;
    attention.plan(plan, forced(stream));
    graph.launch(stream);
    graph.launch(stream);  // the list's counters are as the plan left them
    const std::vector<char> replayed = gpu.bits(0, stream);
    BatchAttention fresh;
    plan.capacity = {};
    AttentionRunArgs run = gpu.run();
    run.q = run.q.slice(0, 0, batch.qo_indptr.back());
    run.out = run.out.slice(0, 0, batch.qo_indptr.back());
    run.lse = run.lse.slice(0, 0, batch.qo_indptr.back());
    fresh.plan(plan, forced(stream));
    fresh.run(run, forced(stream));
    EXPECT_EQ(replayed, gpu.bits(0, stream));
  }
}

}  // namespace
}  // namespace strobe
