#include <limits>

#include "strobe/cascade.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::check_on_gpu;
using test::expect_routine_matches_on_gpu;
using test::Layout;

class CudaMerge : public test::GpuTest {};

constexpr const char* kMerges[] = {"merge_state", "merge_state_in_place", "merge_states"};

TEST_F(CudaMerge, MatchesTheReferenceOverDtypesAndTails) {
  for (const char* merge : kMerges)
    for (const char* dtype : {"f32", "f16", "bf16"})
      for (const char* head_dim : {"1", "7", "64", "128", "200", "3000"})
        expect_routine_matches_on_gpu(
            merge, {{"num_tokens", "5"}, {"num_heads", "3"}, {"head_dim", head_dim}, {"dtype", dtype}});
}

TEST_F(CudaMerge, MatchesTheReferenceOnManyRowsAndStates) {
  for (const char* merge : kMerges)
    expect_routine_matches_on_gpu(merge, {{"num_tokens", "301"}, {"num_heads", "8"}, {"head_dim", "128"}});
  for (const char* num_states : {"0", "1", "5", "67"})
    for (const char* out : {"f32", "f16", "bf16"})
      expect_routine_matches_on_gpu("merge_states", {{"num_tokens", "9"},
                                                     {"num_states", num_states},
                                                     {"num_heads", "3"},
                                                     {"head_dim", "64"},
                                                     {"dtype", "f32"},
                                                     {"v_merged_dtype", out}});
}

TEST_F(CudaMerge, WorksInPlaceStridedMisalignedAndInAGraph) {
  for (const char* merge : kMerges) {
    const test::Values values = {{"num_tokens", "9"}, {"num_heads", "4"}, {"head_dim", "64"}};
    expect_routine_matches_on_gpu(merge, values, Layout::kInPlace);
    expect_routine_matches_on_gpu(merge, values, Layout::kStrided);
    expect_routine_matches_on_gpu(merge, values, Layout::kInPlace, {.graph = true});
    for (std::size_t shift : {4, 8})
      expect_routine_matches_on_gpu(merge, values, Layout::kDense, {.shift = shift});
  }
}

struct Example {
  Tensor v_a = Tensor(Dtype::kF32, {4, 2, 40}), v_b = Tensor(Dtype::kF32, {4, 2, 40});
  Tensor s_a = Tensor(Dtype::kF32, {4, 2}), s_b = Tensor(Dtype::kF32, {4, 2}),
         mask = Tensor(Dtype::kBool, {4});
  Example() {
    op::Random random(1);
    for (const Tensor* tensor : {&v_a, &v_b, &s_a, &s_b}) op::fill_normal(*tensor, random);
    for (int i = 0; i < 4; ++i) mask.as<std::uint8_t>()[i] = i % 2 == 0;
  }
  MergeStateInPlaceArgs in_place() {
    return {.v = v_a, .s = s_a, .v_other = v_b, .s_other = s_b, .mask = mask};
  }
};

// Empty states, whose v is not looked at, and states that spoil what they are merged into.
TEST_F(CudaMerge, EmptyAndSpoiltStatesFollowTheRule) {
  constexpr float kInf = std::numeric_limits<float>::infinity(),
                  kNan = std::numeric_limits<float>::quiet_NaN();
  Example example;
  float* s_a = example.s_a.as<float>();
  float* s_b = example.s_b.as<float>();
  s_a[0] = -kInf;
  s_b[1] = -kInf;
  s_a[2] = s_b[2] = -kInf;
  s_a[3] = kNan;
  s_b[4] = kInf;
  for (std::int64_t j = 0; j < 40; ++j)
    example.v_a.view().at<float>(0, 0, j) = example.v_a.view().at<float>(1, 0, j) = kNan;
  const Tensor v(Dtype::kF32, {4, 2, 40}), s(Dtype::kF32, {4, 2});
  const op::CheckResult result = check_on_gpu(
      "merge_state",
      MergeStateArgs{
          .v_a = example.v_a, .s_a = example.s_a, .v_b = example.v_b, .s_b = example.s_b, .v = v, .s = s});
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaMerge, MaskedTokensStayAsTheyAre) {
  Example example;
  const op::CheckResult result = check_on_gpu("merge_state_in_place", example.in_place());
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaMerge, AForgottenMaskFailsTheCheck) {
  Example example;
  MergeStateInPlaceArgs args = example.in_place();
  const op::Operator& op = *op::registry().find("merge_state_in_place");
  op::Axes axes;
  op::validate(op, &args, op::Phase::kRun, axes);
  op::Random random(1);
  const op::Expected expected = op::expect(op, &args, axes, 1 << 20, random);
  args.mask = {};
  test::run_on_gpu(op, &args, "no mask", {}, [&](Stream stream) { merge_state_in_place(args, stream); });
  EXPECT_FALSE(op::compare(op, &args, axes, expected).passed);
}

}  // namespace
}  // namespace strobe
