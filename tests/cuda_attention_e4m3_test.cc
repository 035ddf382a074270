// Attention of e4m3 queries, keys and values on a GPU against FP64: Hopper's kernel, and elsewhere the kernel in
// f32.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

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

}  // namespace
}  // namespace strobe
