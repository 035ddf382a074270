#include "strobe/logits.h"
#include "support/gpu.h"
#include "support/logits_case.h"

namespace strobe {
namespace {

using test::check_on_gpu;
using test::expect_routine_matches_on_gpu;
using test::PenaltiesProblem;

class CudaLogits : public test::GpuTest {};

TEST_F(CudaLogits, BitmaskMatchesTheReference) {
  for (const auto& [dtype, vocab, words] :
       {std::tuple("f32", "1", "1"), {"f32", "1000", "40"}, {"f16", "1003", "32"}, {"bf16", "4096", "128"}})
    expect_routine_matches_on_gpu("apply_token_bitmask", {{"batch_size", "4"},
                                                          {"num_masks", "6"},
                                                          {"vocab_size", vocab},
                                                          {"num_words", words},
                                                          {"dtype", dtype}});
}

// Whole vectors and single elements, dense and strided rows, any address.
TEST_F(CudaLogits, PenaltiesMatchTheReference) {
  for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBf16})
    for (std::int64_t vocab_size : {1, 33, 1001, 2048})
      for (std::int64_t gap : {0, 3})
        for (std::size_t shift : {0, 4}) {
          PenaltiesProblem problem({.vocab_size = vocab_size, .dtype = dtype, .gap = gap});
          const op::CheckResult result = check_on_gpu("apply_penalties", problem.args, {.shift = shift});
          EXPECT_TRUE(result.passed) << vocab_size << " " << gap << " " << shift << ": " << result.worst;
          EXPECT_GT(result.elements, 0);
        }
}

TEST_F(CudaLogits, PenaltiesInAGraphAndInPlaceMatchTheReference) {
  PenaltiesProblem problem({.vocab_size = 512, .dtype = Dtype::kBf16});
  PenaltiesArgs args = problem.args;
  EXPECT_TRUE(check_on_gpu("apply_penalties", args, {.graph = true}).passed);
  args.out = args.logits;
  EXPECT_TRUE(check_on_gpu("apply_penalties", args).passed);
}

TEST_F(CudaLogits, BadRowsMatchTheReference) {
  PenaltiesProblem problem({.batch_size = 6, .vocab_size = 96});
  problem.args.slots.at<std::int32_t>(1) = 3;            // of 3
  problem.args.bitmask_indices.at<std::int32_t>(2) = 2;  // of 2
  problem.args.repetition_penalty_rows.at<float>(3) = 0;
  problem.args.presence_penalty_rows.at<float>(5) = std::numeric_limits<float>::quiet_NaN();
  const op::CheckResult result = check_on_gpu("apply_penalties", problem.args);
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaLogits, AWrongCountFailsTheCheck) {
  PenaltiesProblem problem({.vocab_size = 64});
  const op::Operator& op = *op::registry().find("apply_penalties");
  const op::CheckResult result =
      test::check_run_on_gpu(op, &problem.args, "a wrong penalty", {}, [&](Stream stream) {
        PenaltiesArgs args = problem.args;
        args.presence_penalty_rows = {};
        op::call_erased(op, &args, stream);
      });
  EXPECT_FALSE(result.passed);
}

}  // namespace
}  // namespace strobe
