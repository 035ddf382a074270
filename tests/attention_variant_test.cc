// Attention with a user's hooks on the CPU against FP64: the examples, layouts and dtypes, errors, and threads that
// ask for one variant at once.
#include "strobe/attention_variant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "support/attention_batch.h"
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

op::CheckResult check(ops::BatchAttentionArgs& args, const VariantCase& variant, const VariantReference& reference) {
  return test::check_variant(args, reference, [&](ops::BatchAttentionArgs&) { run_variant(args, variant); });
}

void expect_matches(ops::BatchAttentionArgs& args, const VariantCase& variant, const std::string& label) {
  const op::CheckResult result = check(args, variant, variant.reference);
  EXPECT_TRUE(result.passed) << label << ": " << result.worst;
  EXPECT_GT(result.elements, 0) << label;
}

// Decode, append, a row that attends to nothing, and a request long enough to be split.
const std::vector<test::RequestShape> kRequests = {{1, 40}, {7, 33}, {1, 700}, {20, 20}};

TEST(AttentionVariant, ExamplesMatchTheReference) {
  AttentionBatch batch(kRequests);
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  for (const VariantCase& variant : test::example_variants(args, memory))
    expect_matches(args, variant, variant.text.name);
}

}  // namespace
}  // namespace strobe
