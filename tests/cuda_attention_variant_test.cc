// Attention with a user's hooks on a GPU, real or emulated, against FP64.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "cuda/graph.h"
#include "jit/compiler.h"
#include "ops/attention_prefill_cuda.h"
#include "ops/attention_variant.h"
#include "support/attention_batch.h"
#include "support/gpu.h"
#include "support/tiny_kernel.h"
#include "support/variant_case.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using test::DeviceCopy;
using test::error_message;
using test::GpuRun;
using test::kGpu;
using test::VariantCase;
using test::VariantReference;
using testing::AllOf;
using testing::HasSubstr;

using CudaVariant = test::GpuTest;

// A line for every compile, which the compiler is asked for when the process first needs it.
[[maybe_unused]] const int kIsVerbose = ::setenv("STROBE_JIT_VERBOSE", "1", 0);

// Runs the batch on the GPU, the variant's tensors too, and brings back what it has written.
void run_variant(ops::BatchAttentionArgs& args, const VariantCase& variant, const GpuRun& how) {
  std::vector<std::unique_ptr<DeviceCopy>> copies;
  std::vector<TensorView> tensors;
  for (const TensorView& tensor : variant.tensors) {
    tensors.emplace_back();
    if (!tensor.given()) continue;
    copies.push_back(std::make_unique<DeviceCopy>(tensor, 0));
    tensors.back() = copies.back()->view();
  }
  const AttentionVariant defined = define_attention_variant(variant.text);
  const VariantArguments arguments(defined, tensors, variant.scalars);
  BatchAttention attention;
  test::run_on_gpu(ops::batch_attention_operator(args.paged()), &args, variant.text.name, how,
                   [&](Stream stream) {
                     args.plan.device = kGpu;
                     args.plan.variant = defined;
                     args.run.variant_arguments = arguments.view();
                     attention.plan(args.plan, stream);
                     attention.run(args.run, stream);
                     cuda::synchronize(kGpu, stream);
                     args.plan.device = {};
                     args.plan.variant = {};
                     args.run.variant_arguments = {};
                   });
  for (const auto& copy : copies) copy->download(true);
}

op::CheckResult check(ops::BatchAttentionArgs& args, const VariantCase& variant,
                      const VariantReference& reference, const GpuRun& how = {}) {
  return test::check_variant(
      args, reference, [&](ops::BatchAttentionArgs&) { run_variant(args, variant, how); }, DeviceType::kCuda);
}

// Decode and append; the long one is split.
const std::vector<test::RequestShape> kRequests = {{1, 40}, {7, 33}, {1, 300}};

// Elements of the dump that no pair has.
std::ptrdiff_t dumped_by_nobody(const ops::BatchAttentionArgs& args) {
  const test::BatchRows rows(args);
  std::ptrdiff_t pairs = 0;
  for (int r = 0; r < rows.batch_size(); ++r)
    for (int i = 0; i < rows.qo_len(r); ++i)
      pairs += rows.kv_len[static_cast<std::size_t>(r)] - rows.qo_len(r) + i + 1;
  const std::ptrdiff_t all = rows.batch_size() * 7 * 300;
  return (all - pairs) * args.plan.num_qo_heads;
}

TEST_F(CudaVariant, ExamplesMatchTheReference) {
  AttentionBatch batch(kRequests);
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  for (const VariantCase& variant : test::example_variants(args, memory)) {
    const op::CheckResult result = check(args, variant, variant.reference);
    EXPECT_TRUE(result.passed) << variant.text.name << ": " << result.worst;
    EXPECT_GT(result.elements, 0);
    if (variant.text.name == "SoftCap") EXPECT_FALSE(check(args, variant, {}).passed);
    if (variant.text.name != "DumpLogits") continue;
    EXPECT_EQ(std::count(memory.dump.begin(), memory.dump.end(), -1.0f), dumped_by_nobody(args));
  }
}

TEST_F(CudaVariant, HooksOfBothSpellings) {
  AttentionBatch batch(kRequests);
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  const VariantCase turned = test::turned_pairs();
  op::CheckResult result = check(args, turned, turned.reference);
  EXPECT_TRUE(result.passed) << result.worst;
  args.plan.options.mask = MaskMode::kNone;
  std::vector<float> sink = {0.5f, -1.0f, 2.0f, 0.0f}, bias = {4.0f, -4.0f, 1.0f, 2.0f};
  const VariantCase spelled = test::flashinfer_spelling(sink, bias);
  result = check(args, spelled, spelled.reference);
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaVariant, RaggedKvOfF32AndFp8Pages) {
  const auto sweep = [](const char* routine, const std::vector<std::pair<const char*, const char*>>& flags) {
    const op::Problem problem = test::routine_problem(routine, flags);
    auto& args = *static_cast<ops::BatchAttentionArgs*>(problem.args.get());
    test::ExampleArguments memory;
    const VariantCase soft_cap = test::example_variants(args, memory)[2];
    const op::CheckResult result = check(args, soft_cap, soft_cap.reference);
    EXPECT_TRUE(result.passed) << routine << ": " << result.worst;
  };
  sweep("batch_prefill_ragged", {{"batch_size", "2"},
                                 {"qo_len", "9"},
                                 {"kv_len", "50"},
                                 {"num_qo_heads", "4"},
                                 {"num_kv_heads", "2"},
                                 {"head_dim_qk", "72"},
                                 {"head_dim_vo", "40"},
                                 {"dtype", "f32"},
                                 {"kv_layout", "HND"}});
  sweep("batch_decode_paged", {{"batch_size", "3"},
                               {"kv_len", "60"},
                               {"lengths", "random"},
                               {"page_size", "4"},
                               {"num_qo_heads", "3"},
                               {"num_kv_heads", "1"},
                               {"head_dim_qk", "64"},
                               {"head_dim_vo", "64"},
                               {"kv_dtype", "e4m3"},
                               {"kv_layout", "NHD"}});
}

// More rows than a tile, in pieces of heads of 128 and of 64; the second has tokens that nothing attends to.
TEST_F(CudaVariant, PromptsAndWhatAMaskHides) {
  for (const int head_dim : {64, 128}) {
    AttentionBatch batch({{70, 90}, {1, 20}},
                         {.head_dim = head_dim, .dtype = Dtype::kF16, .kv_dtype = Dtype::kF16});
    ops::BatchAttentionArgs args{batch.plan, batch.run};
    args.plan.options.window_left = 60;
    args.plan.options.sm_scale = 0.125f;
    std::vector<float> sink = {0.5f, -1.0f, 2.0f, 0.0f}, bias = {4.0f, -4.0f, 1.0f, 2.0f};
    const VariantCase spelled = test::flashinfer_spelling(sink, bias);
    for (const int hidden : {13, 38, 88}) batch.poison_kv_token(0, hidden);
    const op::CheckResult result = check(args, spelled, spelled.reference);
    EXPECT_TRUE(result.passed) << head_dim << ": " << result.worst;
  }
}

// NaN that some rows attend to is theirs alone.
TEST_F(CudaVariant, NanStaysWithTheRowsThatSeeIt) {
  AttentionBatch batch({{30, 70}, {1, 40}});
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  const VariantCase window = test::example_variants(args, memory)[1];
  batch.poison_kv_token(0, 50);
  const op::CheckResult result = check(args, window, window.reference);
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST(CudaVariantChoice, TensorCoresForSixteenBitsAndHeadsOfOneBlock) {
  op::AttentionCudaShape shape{};
  shape.q_dtype = shape.kv_dtype = Dtype::kBf16;
  shape.num_qo_heads = shape.num_kv_heads = 8;
  shape.variant = 1;
  const auto served = [&](int head_dim_qk, int head_dim_vo) {
    shape.head_dim_qk = head_dim_qk;
    shape.head_dim_vo = head_dim_vo;
    return op::serves_prefill(shape, cuda::Architecture::kSm80);
  };
  for (const bool changes_rows : {false, true}) {
    shape.variant_changes_rows = changes_rows;
    EXPECT_TRUE(served(64, 64) && served(72, 40) && served(192, 128) && served(256, 256)) << changes_rows;
    EXPECT_FALSE(served(512, 512) || served(64, 512)) << "hooks are called once";
  }
  shape.kv_dtype = Dtype::kE4m3;
  EXPECT_TRUE(served(128, 128));
  shape.q_dtype = shape.kv_dtype = Dtype::kF32;
  EXPECT_FALSE(served(128, 128));
}

TEST(CudaVariantChoice, HooksOfRowsAreFoundInCodeAlone) {
  const auto changes_rows = [](const std::string& text) {
    return ops::find_variant(define_attention_variant({"V", text, {}, {}}))->changes_rows;
  };
  EXPECT_TRUE(changes_rows("struct V { static float query(); };"));
  EXPECT_TRUE(changes_rows("struct V { /* no // */ static float key (); };"));
  EXPECT_TRUE(changes_rows("struct V { REGISTER_KEY_TRANSFORM(params, k, { return k; }) };"));
  EXPECT_FALSE(changes_rows("// the query\nstruct V { static float my_key, query_2; /* key\n query */ };"));
}

TEST_F(CudaVariant, CompileErrorsPointAtTheLineOfTheText) {
  AttentionBatch batch({{1, 4}});
  batch.plan.variant = define_attention_variant(test::broken_text());
  batch.plan.device = kGpu;
  BatchAttention attention;
  EXPECT_THAT(error_message([&] { attention.plan(batch.plan); }),
              AllOf(HasSubstr("attention_variant_tiles(Broken, kType = "),
                    testing::AnyOf(HasSubstr("Broken(3): error"), HasSubstr("Broken:3:")),
                    HasSubstr("no_such_parameter")));
}

TEST_F(CudaVariant, RunsCapturedInAGraphAndWithinACapacity) {
  AttentionBatch batch({{2, 33}, {1, 40}});
  batch.plan.capacity = {.max_batch_size = 4, .max_query_tokens = 8, .max_qo_len = 4, .max_kv_tokens = 512};
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  const VariantCase soft_cap = test::example_variants(args, memory)[2];
  const VariantArguments arguments(define_attention_variant(soft_cap.text), {}, soft_cap.scalars);
  const op::CheckResult result = test::check_variant(args, soft_cap.reference, [&](ops::BatchAttentionArgs&) {
    BatchAttention attention;
    test::run_on_gpu(ops::batch_attention_operator(true), &args, "graph", {}, [&](Stream stream) {
      args.plan.device = kGpu;
      args.plan.variant = define_attention_variant(soft_cap.text);
      args.run.variant_arguments = arguments.view();
      attention.plan(args.plan, stream);
      const cuda::Graph graph(kGpu, stream, [&] { attention.run(args.run, stream); });
      AttentionPlanArgs other = args.plan;
      other.variant = {};
      EXPECT_THAT(error_message([&] { attention.plan(other, stream); }),
                  HasSubstr("a CUDA graph holds a run"));
      attention.plan(args.plan, stream);
      graph.launch(stream);
      cuda::synchronize(kGpu, stream);
      args.plan.device = {};
      args.plan.variant = {};
      args.run.variant_arguments = {};
    });
  });
  EXPECT_TRUE(result.passed) << result.worst;
}

// Sixteen plans of one text that no process has compiled yet, at once.
TEST_F(CudaVariant, ColdAtOnceCompilesOnce) {
  const jit::TemporaryFolder folder;
  const AttentionVariantText text{
      "Fresh",
      "// " + folder.path() +
          "\nstruct Fresh { static float logits(const Params&, const LogitIndex&, "
          "float x) { return x; } };\n",
      {},
      {}};
  const AttentionVariant variant = define_attention_variant(text);
  const jit::Variant kernel{
      &ops::find_variant(variant)->cuda.f32, {}, *cuda::device_facts(kGpu).architecture};
  ASSERT_FALSE(jit::compiler().is_cached(kernel));
  testing::internal::CaptureStderr();
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&] {
      AttentionBatch batch({{1, 4}}, {.dtype = Dtype::kF32, .kv_dtype = Dtype::kF32});
      batch.plan.device = kGpu;
      batch.plan.variant = variant;
      BatchAttention attention;
      attention.plan(batch.plan);
    });
  for (std::thread& thread : threads) thread.join();
  const std::string log = testing::internal::GetCapturedStderr(), line = "attention_variant(Fresh)";
  const std::size_t first = log.find(line), compiled = log.find("compiled in");
  EXPECT_NE(compiled, std::string::npos) << log;
  EXPECT_EQ(log.find("compiled in", compiled + 1), std::string::npos) << log;
  EXPECT_NE(first, std::string::npos) << log;
  EXPECT_TRUE(jit::compiler().is_cached(kernel));
}

}  // namespace
}  // namespace strobe
