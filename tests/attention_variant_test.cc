// Attention with a user's hooks on the CPU against FP64: the examples, layouts and dtypes, errors, and
// threads that ask for one variant at once.
#include "strobe/attention_variant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "support/attention_batch.h"
#include "support/tiny_kernel.h"
#include "support/variant_case.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using test::BatchShape;
using test::error_message;
using test::PairIndex;
using test::Row;
using test::VariantCase;
using test::VariantReference;
using testing::AllOf;
using testing::HasSubstr;

// Compiled code stays from run to run, as every test is a process of its own.
[[maybe_unused]] const int kCacheIsSet = ::setenv("STROBE_CACHE_DIR", STROBE_VARIANT_CACHE, 0);

void run_variant(ops::BatchAttentionArgs& args, const VariantCase& variant) {
  args.plan.variant = define_attention_variant(variant.text);
  const VariantArguments arguments(args.plan.variant, variant.tensors, variant.scalars);
  args.run.variant_arguments = arguments.view();
  BatchAttention attention;
  attention.plan(args.plan);
  attention.run(args.run);
  args.run.variant_arguments = {};
}

op::CheckResult check(ops::BatchAttentionArgs& args, const VariantCase& variant,
                      const VariantReference& reference) {
  return test::check_variant(args, reference, [&](ops::BatchAttentionArgs&) { run_variant(args, variant); });
}

void expect_matches(ops::BatchAttentionArgs& args, const VariantCase& variant, const std::string& label) {
  const op::CheckResult result = check(args, variant, variant.reference);
  EXPECT_TRUE(result.passed) << label << ": " << result.worst;
  EXPECT_GT(result.elements, 0) << label;
}

// Decode, append, a row that attends to nothing, and a request long enough to be split.
const std::vector<test::RequestShape> kRequests = {{1, 40}, {7, 33}, {1, 700}, {20, 20}};

TEST(AttentionVariant, ExamplesMatchTheReferenceAndControlsFail) {
  AttentionBatch batch(kRequests);
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  for (const VariantCase& variant : test::example_variants(args, memory)) {
    expect_matches(args, variant, variant.text.name);
    if (variant.text.name == "DumpLogits") continue;
    EXPECT_FALSE(check(args, variant, {.softmax = variant.reference.softmax}).passed) << variant.text.name;
  }
}

TEST(AttentionVariant, DumpHoldsEveryLogitThatTheMaskLetsThroughAndNothingElse) {
  AttentionBatch batch(kRequests);
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  const VariantCase dump = test::example_variants(args, memory).back();
  run_variant(args, dump);
  std::vector<float> expected(memory.dump.size(), -1.0f);
  const auto max_qo_len = static_cast<std::size_t>(dump.scalars[0]),
             max_kv_len = static_cast<std::size_t>(dump.scalars[1]);
  const VariantReference keep{.logits = [&](const PairIndex& at, double x) {
    const auto row =
        (static_cast<std::size_t>(at.batch_idx) * max_qo_len + static_cast<std::size_t>(at.qo_idx)) * 4 +
        static_cast<std::size_t>(at.qo_head_idx);
    expected[row * max_kv_len + static_cast<std::size_t>(at.kv_idx)] = static_cast<float>(x);
    return x;
  }};
  test::expect_variant(args, keep);
  std::size_t written = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(memory.dump[i], expected[i], 1e-5f * (1 + std::abs(expected[i]))) << i;
    written += expected[i] != -1.0f;
  }
  EXPECT_GT(written, 1000u);
}

TEST(AttentionVariant, HooksOfQueryKeyAndOutput) {
  AttentionBatch batch(kRequests, {.dtype = Dtype::kF32, .kv_dtype = Dtype::kF32});
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  const VariantCase variant = test::turned_pairs();
  expect_matches(args, variant, "TurnedPairs");
  VariantReference other = variant.reference;
  other.query = other.key = VariantReference().query;
  EXPECT_FALSE(check(args, variant, other).passed);
  other = variant.reference;
  other.output = [](const PairIndex& at, double x, int dim) { return x * (1 + dim + at.kv_head_idx) + 0.25; };
  EXPECT_FALSE(check(args, variant, other).passed);
}

TEST(AttentionVariant, TakesFlashInfersSpelling) {
  AttentionBatch batch(kRequests);
  batch.plan.options.mask = MaskMode::kNone;
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  std::vector<float> sink = {0.5f, -1.0f, 2.0f, 0.0f}, bias = {4.0f, -4.0f, 1.0f, 2.0f};
  VariantCase variant = test::flashinfer_spelling(sink, bias);
  expect_matches(args, variant, "SinkAndBias");
  variant.tensors[1] = {};  // a maybe_ tensor that is not there
  EXPECT_FALSE(check(args, variant, variant.reference).passed);
  VariantReference without = variant.reference;
  without.logits = VariantReference().logits;
  EXPECT_TRUE(check(args, variant, without).passed);
}

VariantCase soft_cap(const ops::BatchAttentionArgs& args, test::ExampleArguments& memory) {
  return test::example_variants(args, memory)[2];
}

TEST(AttentionVariant, LayoutsDtypesAndHeadDims) {
  const auto sweep = [](const char* routine, const std::vector<std::pair<const char*, const char*>>& flags) {
    const op::Problem problem = test::routine_problem(routine, flags);
    auto& args = *static_cast<ops::BatchAttentionArgs*>(problem.args.get());
    test::ExampleArguments memory;
    std::string label = routine;
    for (const auto& [flag, value] : flags) label += std::string(" --") + flag + " " + value;
    expect_matches(args, soft_cap(args, memory), label);
  };
  for (const char* layout : {"NHD", "HND"}) {
    for (const char* dtype : {"f32", "f16", "bf16"})
      sweep("batch_prefill_ragged", {{"batch_size", "2"},
                                     {"qo_len", "9"},
                                     {"kv_len", "50"},
                                     {"num_qo_heads", "4"},
                                     {"num_kv_heads", "2"},
                                     {"head_dim_qk", "72"},
                                     {"head_dim_vo", "40"},
                                     {"dtype", dtype},
                                     {"kv_layout", layout}});
    for (const char* kv_dtype : {"e4m3", "e5m2"})
      sweep("batch_decode_paged", {{"batch_size", "3"},
                                   {"kv_len", "60"},
                                   {"lengths", "random"},
                                   {"page_size", "4"},
                                   {"num_qo_heads", "3"},
                                   {"num_kv_heads", "1"},
                                   {"head_dim_qk", "64"},
                                   {"head_dim_vo", "64"},
                                   {"kv_dtype", kv_dtype},
                                   {"kv_layout", layout}});
  }
}

TEST(AttentionVariant, PlanMasksAndScalesApply) {
  AttentionBatch batch(kRequests);
  batch.plan.options.window_left = 12;
  batch.plan.options.q_scale = 0.5f;
  batch.plan.options.k_scale = 3.0f;
  batch.plan.options.v_scale = -2.0f;
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  expect_matches(args, soft_cap(args, memory), "window and scales");
  batch.plan.options = {};
  batch.set_random_custom_mask();
  ops::BatchAttentionArgs masked{batch.plan, batch.run};
  VariantCase variant = soft_cap(masked, memory);
  const test::BatchRows rows(masked);
  variant.reference.mask = [&](const PairIndex& at) {
    const int bit = at.qo_idx * at.kv_len + at.kv_idx;
    const std::int32_t first = masked.plan.custom_mask_indptr.as<std::int32_t>()[at.batch_idx];
    return (masked.plan.custom_mask.as<std::uint8_t>()[first + bit / 8] >> (bit % 8) & 1) != 0;
  };
  expect_matches(masked, variant, "custom mask");
}

TEST(AttentionVariant, RequestsWithoutQueriesOrWithoutKv) {
  AttentionBatch batch({{0, 5}, {3, 0}, {5, 3}});
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  const std::vector<VariantCase> examples = test::example_variants(args, memory);
  for (std::size_t i : {0, 2}) expect_matches(args, examples[i], examples[i].text.name);
}

TEST(AttentionVariant, EveryInstructionSetLevelMatches) {
  AttentionBatch batch({{5, 70}});
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    expect_matches(args, soft_cap(args, memory), std::string(cpu::name(isa)));
  }
}

TEST(AttentionVariant, NanOfTokensThatItMasksStaysOut) {
  AttentionBatch batch(kRequests);
  batch.poison_kv_token(2, 300);  // outside the window of the one query token, and no sink token
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  const std::vector<VariantCase> examples = test::example_variants(args, memory);
  expect_matches(args, examples[1], "SinkWindow");
  EXPECT_FALSE(check(args, examples[2], {}).passed) << "SoftCap sees the token";
}

TEST(AttentionVariant, DeterministicPlansDoNotDependOnNeighbours) {
  AttentionBatch alone({{1, 700}}), among({{1, 700}, {7, 900}, {1, 40}});
  among.copy_request(0, alone);
  test::ExampleArguments memory;
  for (AttentionBatch* batch : {&alone, &among}) {
    batch->plan.options.deterministic = true;
    ops::BatchAttentionArgs args{batch->plan, batch->run};
    run_variant(args, soft_cap(args, memory));
  }
  EXPECT_EQ(std::memcmp(alone.run.out.data, among.run.out.data, 4 * 64 * 2), 0);
}

TEST(AttentionVariantErrors, CompileErrorsPointAtTheLineOfTheText) {
  AttentionBatch batch({{1, 4}});
  const auto plan = [&](const AttentionVariantText& text) {
    batch.plan.variant = define_attention_variant(text);
    BatchAttention attention;
    return error_message([&] { attention.plan(batch.plan); });
  };
  EXPECT_THAT(plan(test::broken_text()), AllOf(HasSubstr("Broken:3:"), HasSubstr("no_such_parameter"),
                                               HasSubstr("kVariant = \"Broken\"")));
  EXPECT_THAT(
      plan({"Wrong", "struct Wrong { static bool mask(const Params&, int) { return true; } };", {}, {}}),
      HasSubstr("the hook mask is: static bool mask(const Params&, const LogitIndex&)"));
  EXPECT_THAT(
      plan({"Typo",
            "struct Typo { static float logit(const Params&, const LogitIndex&, float x) { return x; } };",
            {},
            {}}),
      HasSubstr("none of the hooks query, key, logits, mask and output"));
}

TEST(AttentionVariantErrors, Definitions) {
  const auto message = [](const AttentionVariantText& text) {
    return error_message([&] { define_attention_variant(text); });
  };
  EXPECT_THAT(message({"no identifier", "x", {}, {}}),
              HasSubstr("name: expected the C++ identifier of the text's struct"));
  EXPECT_THAT(message({"A", " \n", {}, {}}),
              HasSubstr("attention variant A: text: expected the definition of a struct"));
  EXPECT_THAT(message({"A", "x", {{"b", Dtype::kBf16}}, {}}),
              HasSubstr("tensor b: expected dtype f32, i8, u8, i32, i64 or bool, got bf16"));
  EXPECT_THAT(message({"A", "x", {{"b", Dtype::kF32}}, {{"b", VariantScalarType::kF32}}}),
              HasSubstr("got 'b' twice"));
  EXPECT_THAT(message({"A", "x", std::vector<VariantTensor>(25, {"t", Dtype::kF32}), {}}),
              HasSubstr("at most 24 tensors and scalars, got 25"));
  EXPECT_EQ(define_attention_variant(test::broken_text()), define_attention_variant(test::broken_text()));
}

TEST(AttentionVariantErrors, Arguments) {
  const AttentionVariant variant =
      define_attention_variant({"A", "struct A {};", {{"t", Dtype::kF32}}, {{"i", VariantScalarType::kI32}}});
  std::vector<float> floats(4);
  std::vector<std::int32_t> ints(4);
  const TensorView t = TensorView::of(floats);
  TensorView gpu = t;
  gpu.device = {DeviceType::kCuda, 0};
  const auto message = [&](std::initializer_list<TensorView> tensors, std::initializer_list<double> scalars) {
    return error_message([&] { VariantArguments(variant, tensors, scalars); });
  };
  EXPECT_THAT(message({t}, {}), HasSubstr("expected 1 tensors and 1 scalars, got 1 and 0"));
  EXPECT_THAT(message({TensorView{}}, {1}), HasSubstr("t: expected a tensor, got nothing"));
  EXPECT_THAT(message({TensorView::of(ints)}, {1}),
              HasSubstr("t: expected a dense tensor of f32, got i32[4]"));
  EXPECT_THAT(message({t}, {1.5}), HasSubstr("i: expected a number that int holds, got 1.5"));
  EXPECT_THAT(message({t}, {3e9}), HasSubstr("i: expected a number that int holds"));
  EXPECT_THAT(error_message([&] { VariantArguments(AttentionVariant{12345}, {}, {}); }),
              HasSubstr("got 12345"));

  AttentionBatch batch({{1, 4}});
  test::ExampleArguments memory;
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  const VariantCase alibi = test::example_variants(args, memory)[3];
  batch.plan.variant = define_attention_variant(alibi.text);
  BatchAttention attention;
  attention.plan(batch.plan);
  const auto run_message = [&] { return error_message([&] { attention.run(batch.run); }); };
  EXPECT_THAT(run_message(), HasSubstr("variant_arguments: expected the 1 of variant Alibi, got nothing"));
  const VariantArguments others(variant, {t}, {1}), elsewhere(batch.plan.variant, {gpu}, {});
  batch.run.variant_arguments = others.view();
  EXPECT_THAT(run_message(), HasSubstr("expected those of the planned variant Alibi"));
  batch.run.variant_arguments = elsewhere.view();
  EXPECT_THAT(run_message(), HasSubstr("expected tensors on cpu"));
  batch.run.sinks = t;
  EXPECT_THAT(run_message(), HasSubstr("sinks: expected none beside a variant"));
}

TEST(AttentionVariantErrors, OptionsThatTheTextShouldSay) {
  AttentionBatch batch({{1, 4}});
  batch.plan.variant = define_attention_variant(test::broken_text());
  const auto message = [&](auto change) {
    AttentionPlanArgs plan = batch.plan;
    change(plan);
    BatchAttention attention;
    return error_message([&] { attention.plan(plan); });
  };
  EXPECT_THAT(message([](AttentionPlanArgs& p) { p.options.logits_soft_cap = 30; }),
              HasSubstr("logits_soft_cap: expected none beside a variant"));
  EXPECT_THAT(message([](AttentionPlanArgs& p) { p.options.pos_encoding = PosEncoding::kRope; }),
              HasSubstr("pos_encoding: expected none"));
  EXPECT_THAT(message([](AttentionPlanArgs& p) { p.variant.id = 9999; }),
              HasSubstr("variant: expected 0 or a variant that this process has defined, got 9999"));
  BatchAttention plain;
  batch.plan.variant = {};
  plain.plan(batch.plan);
  std::vector<std::int64_t> slots = {1, -1};
  batch.run.variant_arguments = TensorView::of(slots);
  EXPECT_THAT(error_message([&] { plain.run(batch.run); }),
              HasSubstr("variant_arguments: expected none without a variant"));
}

TEST(AttentionVariantThreads, ColdAtOnceCompilesOnce) {
  const jit::TemporaryFolder folder;
  const std::string script = folder.path("compiler"), count = folder.path("count");
  std::ofstream(script) << "#!/bin/sh\n[ \"$1\" = --version ] || printf x >> " << count
                        << "\nexec c++ \"$@\"\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  ::setenv("CXX", script.c_str(), 1);
  // A text that no cache has.
  const AttentionVariantText text{
      "Fresh",
      "// " + folder.path() +
          "\nstruct Fresh { static float logits(const Params&, const LogitIndex&, float x) "
          "{ return 2 * x; } };\n",
      {},
      {}};
  std::atomic<int> passed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&] {
      AttentionBatch batch({{1, 40}});
      ops::BatchAttentionArgs args{batch.plan, batch.run};
      const VariantCase variant{.text = text,
                                .tensors = {},
                                .scalars = {},
                                .reference = {.logits = [](const PairIndex&, double x) { return 2 * x; }}};
      passed += check(args, variant, variant.reference).passed;
    });
  for (std::thread& thread : threads) thread.join();
  ::unsetenv("CXX");
  EXPECT_EQ(passed, 16);
  EXPECT_EQ(std::filesystem::file_size(count), 1u);
}

}  // namespace
}  // namespace strobe
