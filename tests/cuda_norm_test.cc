#include <limits>

#include "jit/kernel_source.h"
#include "ops/norm_cuda.h"
#include "strobe/norm.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::check_on_gpu;
using test::expect_routine_matches_on_gpu;
using test::GpuRun;
using test::Layout;

class CudaNorm : public test::GpuTest {};

constexpr const char* kNorms[] = {"rmsnorm", "fused_add_rmsnorm", "layernorm"};
constexpr const char* kQuantNorms[] = {"rmsnorm_quant", "fused_add_rmsnorm_quant", "layernorm_quant"};
constexpr const char* kFloatNames[] = {"f32", "f16", "bf16"};
// One thread to a block a row; tails of vectors; rows around the most that stay in registers.
constexpr const char* kHidden[] = {"1", "7", "64", "100", "128", "640", "4096", "4099", "8192"};

Tensor random_tensor(Dtype dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed,
                     double mean = 0) {
  Tensor tensor(dtype, shape);
  op::Random random(seed);
  op::fill_normal(tensor, random, mean);
  return tensor;
}

TEST_F(CudaNorm, MatchesTheReferenceOverDtypesAndTails) {
  for (const char* norm : kNorms)
    for (const char* dtype : kFloatNames)
      for (const char* hidden : kHidden)
        expect_routine_matches_on_gpu(norm, {{"num_tokens", "5"}, {"hidden", hidden}, {"dtype", dtype}});
}

TEST_F(CudaNorm, QuantisingFormsMatchTheReference) {
  for (const char* norm : kQuantNorms)
    for (const char* dtype : kFloatNames)
      for (const char* out : {"e4m3", "e5m2"})
        for (const char* hidden : {"7", "64", "4096"})
          expect_routine_matches_on_gpu(norm, {{"num_tokens", "4"},
                                               {"hidden", hidden},
                                               {"dtype", dtype},
                                               {"out_dtype", out},
                                               {"scale", "0.037"}});
}

TEST_F(CudaNorm, GemmaFormsMatchTheReference) {
  for (const char* norm : {"rmsnorm", "fused_add_rmsnorm", "rmsnorm_quant", "fused_add_rmsnorm_quant"})
    expect_routine_matches_on_gpu(norm, {{"num_tokens", "3"}, {"hidden", "3072"}, {"gemma", "true"}});
}

TEST_F(CudaNorm, MatchesTheReferenceOnManyRows) {
  for (const char* norm : kNorms)
    for (const char* dtype : {"f32", "bf16"})
      for (const auto& [num_tokens, hidden] : {std::pair{"9001", "16"}, {"1201", "128"}, {"601", "2056"}})
        expect_routine_matches_on_gpu(norm,
                                      {{"num_tokens", num_tokens}, {"hidden", hidden}, {"dtype", dtype}});
}

// Many rows of 16 KiB and more are read twice.
TEST_F(CudaNorm, MatchesTheReferenceOnManyRowsThatAreReadTwice) {
  for (const char* norm : kNorms)
    expect_routine_matches_on_gpu(norm, {{"num_tokens", "11"}, {"hidden", "4104"}, {"dtype", "f32"}});
}

TEST_F(CudaNorm, MatchesTheReferenceOnRowsLongerThanRegistersHold) {
  for (const char* norm : {"rmsnorm", "fused_add_rmsnorm", "layernorm", "rmsnorm_quant", "layernorm_quant"})
    for (const char* dtype : {"f32", "bf16"})
      for (const char* hidden : {"32776", "50001"})
        expect_routine_matches_on_gpu(norm, {{"num_tokens", "3"}, {"hidden", hidden}, {"dtype", dtype}});
}

TEST_F(CudaNorm, MatchesTheReferenceOnStridedViews) {
  for (const char* norm :
       {"rmsnorm", "fused_add_rmsnorm", "layernorm", "rmsnorm_quant", "fused_add_rmsnorm_quant"})
    for (const char* num_tokens : {"1", "5", "6"})  // 6 becomes 3 x 2, its axes exchanged in memory
      for (const char* hidden : {"7", "128", "3000"})
        expect_routine_matches_on_gpu(norm, {{"num_tokens", num_tokens}, {"hidden", hidden}},
                                      Layout::kStrided);
}

TEST_F(CudaNorm, MatchesTheReferenceInPlace) {
  for (const char* norm : {"rmsnorm", "layernorm"})
    for (const char* num_tokens : {"7", "5000"})
      expect_routine_matches_on_gpu(norm, {{"num_tokens", num_tokens}, {"hidden", "1024"}}, Layout::kInPlace);
}

TEST_F(CudaNorm, MatchesTheReferenceAtAnyAlignment) {
  for (const char* norm : {"rmsnorm", "fused_add_rmsnorm", "layernorm_quant"})
    for (std::size_t shift : {2, 4, 8})
      expect_routine_matches_on_gpu(norm, {{"num_tokens", "5"}, {"hidden", "512"}, {"dtype", "bf16"}},
                                    Layout::kDense, {.shift = shift});
}

TEST_F(CudaNorm, MatchesTheReferenceInAGraph) {
  for (const char* norm : {"rmsnorm", "fused_add_rmsnorm", "layernorm_quant"})
    for (const char* num_tokens : {"33", "5000"})
      expect_routine_matches_on_gpu(norm, {{"num_tokens", num_tokens}, {"hidden", "1024"}}, Layout::kDense,
                                    {.graph = true});
}

// Heads of a fused projection, normalised where they lie.
TEST_F(CudaNorm, NormalisesTheHeadsOfAFusedTensor) {
  const Tensor qkv = random_tensor(Dtype::kBf16, {9, 18, 64}, 3);
  const Tensor weight = random_tensor(Dtype::kBf16, {64}, 4, 1);
  const TensorView q = qkv.view().slice(1, 0, 6);
  const op::CheckResult result = check_on_gpu("rmsnorm", RmsNormArgs{.input = q, .weight = weight, .out = q});
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaNorm, NanAndInfStayInTheirRow) {
  for (float special : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Tensor input = random_tensor(Dtype::kF32, {3, 260}, 5),
                 weight = random_tensor(Dtype::kF32, {260}, 6);
    const Tensor out(Dtype::kF32, {3, 260});
    input.view().at<float>(1, 17) = special;
    const op::CheckResult rms =
        check_on_gpu("rmsnorm", RmsNormArgs{.input = input, .weight = weight, .out = out});
    EXPECT_TRUE(rms.passed) << rms.worst;
    const op::CheckResult layer =
        check_on_gpu("layernorm", LayerNormArgs{.input = input, .gamma = weight, .beta = weight, .out = out});
    EXPECT_TRUE(layer.passed) << layer.worst;
  }
}

TEST_F(CudaNorm, LayerNormKeepsAccuracyBesideALargeMean) {
  const Tensor input = random_tensor(Dtype::kF32, {3, 1000}, 5, 300);
  const Tensor gamma = random_tensor(Dtype::kF32, {1000}, 6), beta = random_tensor(Dtype::kF32, {1000}, 7);
  const Tensor out(Dtype::kF32, {3, 1000});
  const op::CheckResult result =
      check_on_gpu("layernorm", LayerNormArgs{.input = input, .gamma = gamma, .beta = beta, .out = out});
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaNorm, WorksOnNoTokens) {
  const Tensor x(Dtype::kBf16, {0, 8}), w(Dtype::kBf16, {8}), y(Dtype::kBf16, {0, 8});
  const op::CheckResult result = check_on_gpu("rmsnorm", RmsNormArgs{.input = x, .weight = w, .out = y});
  EXPECT_TRUE(result.passed);
  EXPECT_EQ(result.elements, 0);
}

TEST_F(CudaNorm, AWrongNormFailsTheCheck) {
  const Tensor input = random_tensor(Dtype::kBf16, {4, 256}, 1),
               weight = random_tensor(Dtype::kBf16, {256}, 2);
  const Tensor out(Dtype::kBf16, {4, 256});
  RmsNormArgs args{.input = input, .weight = weight, .out = out};
  const op::Operator& op = *op::registry().find("rmsnorm");
  op::Axes axes;
  op::validate(op, &args, op::Phase::kRun, axes);
  op::Random random(1);
  const op::Expected expected = op::expect(op, &args, axes, 1 << 20, random);
  args.gemma = true;
  test::run_on_gpu(op, &args, "gemma by mistake", {}, [&](Stream stream) { rmsnorm(args, stream); });
  EXPECT_FALSE(op::compare(op, &args, axes, expected).passed);
}

// Without a GPU: the cut of every shape covers it, by a kernel that exists.
TEST(CudaNormChoice, CoversEveryRow) {
  const jit::KernelSource* norm = jit::kernel_registry().find("norm");
  for (auto form : {kernel::NormForm::kRms, kernel::NormForm::kAddRms, kernel::NormForm::kLayer})
    for (std::int64_t rows : {1, 7, 128, 300, 5000, 1 << 20})
      for (std::int64_t hidden : {1, 16, 64, 128, 1000, 4096, 5120, 7168, 8192, 16384, 16392, 32768, 65536})
        for (int vector : {1, 4, 8})
          for (Dtype out : {Dtype::kBf16, Dtype::kE4m3}) {
            const bool quantises = out == Dtype::kE4m3;
            if (hidden % vector != 0) continue;
            const op::NormChoice choice = op::choose_norm({.form = form,
                                                           .rows = rows,
                                                           .hidden = hidden,
                                                           .vector = vector,
                                                           .out_bytes = quantises ? 1 : 2},
                                                          100);
            EXPECT_GE(choice.blocks * choice.block_rows(), rows);
            if (!choice.long_rows) {
              EXPECT_GE(std::int64_t{choice.row_threads} * choice.items * vector, hidden);
            }
            const Dtype input = vector == 4 ? Dtype::kF32 : Dtype::kBf16;
            const jit::Variant variant{
                norm,
                {static_cast<int>(form), static_cast<int>(input), static_cast<int>(quantises ? out : input),
                 vector, choice.items, choice.row_threads, choice.long_rows}};
            EXPECT_TRUE(jit::exists(variant)) << jit::describe(variant);
          }
}

}  // namespace
}  // namespace strobe
