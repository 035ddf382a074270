// Attention with a user's hooks on a GPU, real or emulated, against FP64.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "support/attention_batch.h"
#include "support/gpu.h"
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

// Runs the batch on the GPU, the variant's tensors too, and brings back what it has written.
void run_variant(ops::BatchAttentionArgs& args, const VariantCase& variant, const GpuRun& how) {
  std::vector<std::unique_ptr<DeviceCopy>> copies;
  std::vector<TensorView> tensors;
  for (const TensorView& tensor : variant.tensors) {
    copies.push_back(std::make_unique<DeviceCopy>(tensor, 0));
    tensors.push_back(copies.back()->view());
  }
  const AttentionVariant defined = define_attention_variant(variant.text);
  const VariantArguments arguments(defined, tensors, variant.scalars);
  BatchAttention attention;
  test::run_on_gpu(ops::batch_attention_operator(args.paged()), &args, variant.text.name, how, [&](Stream stream) {
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

op::CheckResult check(ops::BatchAttentionArgs& args, const VariantCase& variant, const VariantReference& reference,
                      const GpuRun& how = {}) {
  return test::check_variant(args, reference,
                             [&](ops::BatchAttentionArgs&) { run_variant(args, variant, how); });
}

// Decode and append; the long one is split.
const std::vector<test::RequestShape> kRequests = {{1, 40}, {7, 33}, {1, 300}};

TEST_F(CudaVariant, ExamplesMatchTheReference) {
  AttentionBatch batch(kRequests);
  ops::BatchAttentionArgs args{batch.plan, batch.run};
  test::ExampleArguments memory;
  for (const VariantCase& variant : test::example_variants(args, memory)) {
    const op::CheckResult result = check(args, variant, variant.reference);
    EXPECT_TRUE(result.passed) << variant.text.name << ": " << result.worst;
    EXPECT_GT(result.elements, 0);
  }
}

}  // namespace
}  // namespace strobe
