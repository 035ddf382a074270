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
