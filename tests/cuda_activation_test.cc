#include <limits>

#include "ops/activation_cuda.h"
#include "strobe/activation.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::expect_routine_matches_on_gpu;
using test::Layout;

class CudaActivation : public test::GpuTest {};

constexpr const char* kActivations[] = {"silu_and_mul", "gelu_and_mul", "gelu_tanh_and_mul"};
constexpr const char* kFloatNames[] = {"f32", "f16", "bf16"};

TEST_F(CudaActivation, MatchesTheReferenceOverDtypesAndTails) {
  for (const char* activation : kActivations)
    for (const char* dtype : kFloatNames)
      for (const char* hidden : {"1", "3", "8", "100", "1024", "4099"})
        expect_routine_matches_on_gpu(activation,
                                      {{"num_tokens", "5"}, {"hidden", hidden}, {"dtype", dtype}});
}

TEST_F(CudaActivation, MatchesTheReferenceOnLargeTensors) {
  for (const char* activation : kActivations)
    expect_routine_matches_on_gpu(activation, {{"num_tokens", "2001"}, {"hidden", "2824"}});
}

TEST_F(CudaActivation, MatchesTheReferenceOnStridedViews) {
  for (const char* num_tokens : {"1", "5", "6"})  // 6 becomes 3 x 2, its axes exchanged in memory
    for (const char* hidden : {"7", "128", "600"})
      expect_routine_matches_on_gpu("silu_and_mul", {{"num_tokens", num_tokens}, {"hidden", hidden}},
                                    Layout::kStrided);
}

TEST_F(CudaActivation, MatchesTheReferenceAtAnyAlignment) {
  for (std::size_t shift : {2, 4, 8})
    expect_routine_matches_on_gpu("gelu_tanh_and_mul",
                                  {{"num_tokens", "5"}, {"hidden", "256"}, {"dtype", "bf16"}}, Layout::kDense,
                                  {.shift = shift});
}

TEST_F(CudaActivation, MatchesTheReferenceInAGraph) {
  expect_routine_matches_on_gpu("silu_and_mul", {{"num_tokens", "33"}, {"hidden", "1024"}}, Layout::kDense,
                                {.graph = true});
}

// NaN, infinities, and arguments whose exponential overflows.
TEST_F(CudaActivation, SpecialValuesFollowTheFormula) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float special[] = {kInf,  -kInf, std::numeric_limits<float>::quiet_NaN(), 1e30f, -1e30f, -100, 100, 0,
                           -0.0f, -20};
  constexpr std::int64_t kCount = std::size(special);
  for (const char* activation : kActivations) {
    const Tensor input(Dtype::kF32, {1, 2 * kCount}), out(Dtype::kF32, {1, kCount});
    for (std::int64_t i = 0; i < kCount; ++i) {
      input.as<float>()[i] = special[i];
      input.as<float>()[kCount + i] = 2;
    }
    const ActivationArgs args{.input = input, .out = out};
    test::run_on_gpu(*op::registry().find(activation), const_cast<ActivationArgs*>(&args), activation, {},
                     [&](Stream stream) { op::call(*op::registry().find(activation), args, stream); });
    const float* y = out.as<float>();
    EXPECT_EQ(y[0], kInf) << activation;
    EXPECT_TRUE(std::isnan(y[1]) && std::isnan(y[2])) << activation;
    EXPECT_FLOAT_EQ(y[3], 2e30f) << activation;
    EXPECT_EQ(y[4], 0) << activation;
    EXPECT_EQ(y[5], 0) << activation;
    EXPECT_FLOAT_EQ(y[6], 200) << activation;
    EXPECT_EQ(y[7], 0) << activation;
    EXPECT_EQ(y[8], 0) << activation;
    EXPECT_NEAR(y[9], 0, 1e-6) << activation;
  }
}

TEST_F(CudaActivation, AnotherFunctionFailsTheCheck) {
  op::Random random(1);
  const Tensor input(Dtype::kBf16, {4, 512}), out(Dtype::kBf16, {4, 256});
  op::fill_normal(input, random);
  ActivationArgs args{.input = input, .out = out};
  const op::Operator& op = *op::registry().find("gelu_and_mul");
  op::Axes axes;
  op::validate(op, &args, op::Phase::kRun, axes);
  const op::Expected expected = op::expect(op, &args, axes, 1 << 20, random);
  test::run_on_gpu(op, &args, "silu by mistake", {}, [&](Stream stream) { silu_and_mul(args, stream); });
  EXPECT_FALSE(op::compare(op, &args, axes, expected).passed);
}

}  // namespace
}  // namespace strobe
