#include <bit>
#include <cmath>
#include <limits>

#include "ops/sampling_cuda.h"
#include "strobe/sampling.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::check_on_gpu;
using test::expect_routine_matches_on_gpu;
using test::GpuRun;
using test::Layout;

class CudaSampling : public test::GpuTest {};

constexpr const char* kSamplers[] = {"sampling_from_probs", "sampling_from_logits"};

test::Values rows(const std::string& count, const std::string& vocab, const std::string& dtype) {
  return {{"num_rows", count}, {"batch_size", count}, {"vocab_size", vocab}, {"dtype", dtype}};
}

test::Values with(test::Values values, const test::Values& more) {
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

// One block a row, and clusters; whole vectors, single elements.
TEST_F(CudaSampling, MatchesTheReferenceOverDtypesAndLengths) {
  for (const char* sampler : kSamplers)
    for (const auto& [dtype, vocab] : {std::pair("f32", "1"),
                                       {"f32", "65"},
                                       {"f32", "1000"},
                                       {"f32", "8200"},
                                       {"bf16", "4099"},
                                       {"bf16", "8200"},
                                       {"f16", "1000"}})
      expect_routine_matches_on_gpu(sampler, rows("3", vocab, dtype));
}

TEST_F(CudaSampling, FiltersMatchTheReference) {
  for (const char* sampler : kSamplers)
    for (const auto& [dtype, vocab] : {std::pair("f32", "1000"), {"f32", "8200"}, {"bf16", "4104"}})
      for (const test::Values& filter : {test::Values{{"top_k", "50"}},
                                         {{"top_p", "0.9"}},
                                         {{"min_p", "0.1"}},
                                         {{"top_k", "100"}, {"top_p", "0.8"}, {"min_p", "0.01"}},
                                         {{"top_k", "100"}, {"top_p", "0.8"}, {"joint", "true"}}})
        expect_routine_matches_on_gpu(sampler, with(rows("1", vocab, dtype), filter));
}

// Rows that are longer than a block's list: their threshold is guessed from a sample.
TEST_F(CudaSampling, LongRowsMatchTheReference) {
  for (const char* sampler : kSamplers)
    for (const auto& [dtype, vocab] : {std::pair("f32", "12288"), {"bf16", "24576"}})
      for (const test::Values& filter : {test::Values{{"top_k", "50"}},
                                         {{"top_p", "0.9"}},
                                         {{"top_k", "100"}, {"top_p", "0.8"}, {"min_p", "0.01"}},
                                         {{"top_k", "100"}, {"top_p", "0.8"}, {"joint", "true"}}})
        expect_routine_matches_on_gpu(sampler, with(rows("1", vocab, dtype), filter));
}

// One value; a heavy token that no sample finds; one token; values that differ in their last bits; many
// octaves; weights that do not add up to 1.
TEST_F(CudaSampling, RowsThatMisleadAGuessMatchTheReference) {
  constexpr std::int64_t kRows = 6, kVocab = 12288;
  Tensor probs(Dtype::kF32, {kRows, kVocab});
  for (int j = 0; j < kVocab; ++j) {
    const float values[kRows] = {
        1.0f / kVocab,
        j == 6147 ? 0.5f : 0.5f / kVocab,
        j == kVocab - 1 ? 1.0f : 0.0f,
        std::bit_cast<float>(0x38000000u + static_cast<std::uint32_t>(j) * 2654435761u % 64),
        std::ldexp(1.0f, -(j % 140)),
        static_cast<float>(j % 100) / kVocab};
    for (int row = 0; row < kRows; ++row) probs.view().at<float>(row, j) = values[row];
  }
  const Tensor samples(Dtype::kI32, {kRows}), valid(Dtype::kBool, {kRows});
  for (const TokenFilter& filter :
       {TokenFilter{.top_p = 0.9f}, {.top_k = 50}, {.top_k = 50, .top_p = 0.5f, .joint = true}}) {
    const op::CheckResult from_probs = check_on_gpu(
        "sampling_from_probs",
        SamplingFromProbsArgs{.probs = probs, .samples = samples, .valid = valid, .filter = filter});
    EXPECT_TRUE(from_probs.passed) << from_probs.worst;
    const op::CheckResult from_logits = check_on_gpu(
        "sampling_from_logits",
        SamplingFromLogitsArgs{.logits = probs, .samples = samples, .valid = valid, .filter = filter});
    EXPECT_TRUE(from_logits.passed) << from_logits.worst;
  }
}

TEST_F(CudaSampling, WrittenRowsMatchTheReference) {
  for (const char* routine : {"softmax", "renorm_probs", "mask_logits"})
    for (const auto& [dtype, vocab] : {std::pair("f32", "1000"), {"bf16", "8200"}}) {
      const test::Values sizes = {{"batch_size", "3"}, {"vocab_size", vocab}, {"dtype", dtype}};
      expect_routine_matches_on_gpu(routine, sizes);
      if (routine != std::string_view("softmax"))
        expect_routine_matches_on_gpu(routine, with(sizes, {{"top_k", "40"}, {"top_p", "0.7"}}));
      else
        expect_routine_matches_on_gpu(routine, with(sizes, {{"temperature", "0.5"}}));
    }
}

TEST_F(CudaSampling, WorksInPlaceOnStridedViewsAndMisaligned) {
  for (const char* routine : {"renorm_probs", "mask_logits"}) {
    const test::Values values = {
        {"batch_size", "4"}, {"vocab_size", "1000"}, {"dtype", "f32"}, {"top_k", "20"}};
    expect_routine_matches_on_gpu(routine, values, Layout::kInPlace);
    expect_routine_matches_on_gpu(routine, values, Layout::kStrided);
    expect_routine_matches_on_gpu(routine, values, Layout::kDense, GpuRun{.shift = 4});
  }
}

// Bad rows, and rows of all kinds of parameters, in tensors; indices beyond the rows; 64-bit samples; seeds
// and offsets of rows; in a graph.
TEST_F(CudaSampling, ParametersOfRowsAndBadRows) {
  constexpr std::int64_t kRows = 8, kVocab = 1000;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  Tensor probs(Dtype::kF32, {kRows, kVocab});
  op::Random random(3);
  for (std::int64_t i = 0; i < probs.view().size(); ++i)
    probs.as<float>()[i] = static_cast<float>(random.uniform()) / 500;
  probs.view().at<float>(1, 700) = kNan;
  probs.view().at<float>(2, 999) = -1e-6f;
  for (int j = 0; j < kVocab; ++j) probs.view().at<float>(3, j) = 0;
  std::vector<std::int32_t> indices = {0, 1, 2, 3, 4, 8, -1, 7}, top_k = {1, 2, 3, 4, 0, -7, 5000, 300};
  std::vector<float> top_p = {1, 0.5f, 1, 1, 0.9f, kNan, 2, -1}, min_p = {0, 0, 0, 0, 0.5f, kNan, 2, 0},
                     temperature = {1, 0, -1, kNan, 0.5f, 1, 1, 1e30f};
  std::vector<std::int64_t> seeds = {1, 2, 3, 4, std::int64_t{1} << 62, 6, 7, 8}, offset = {11};
  const TokenFilter filter = {.top_k_rows = TensorView::of(top_k),
                              .top_p_rows = TensorView::of(top_p),
                              .min_p_rows = TensorView::of(min_p)};
  const RandomNumbers numbers = {.seeds = TensorView::of(seeds), .offsets = TensorView::of(offset)};
  const Tensor samples(Dtype::kI64, {kRows}), valid(Dtype::kBool, {kRows}), out(Dtype::kF32, {kRows, kVocab});
  const auto expect_passes = [](const op::CheckResult& result) {
    EXPECT_TRUE(result.passed) << result.worst;
  };
  for (bool graph : {false, true}) {
    expect_passes(check_on_gpu("sampling_from_probs",
                               SamplingFromProbsArgs{.probs = probs,
                                                     .samples = samples,
                                                     .valid = valid,
                                                     .indices = TensorView::of(indices),
                                                     .filter = filter,
                                                     .random = numbers},
                               {.graph = graph}));
    expect_passes(check_on_gpu("sampling_from_logits",
                               SamplingFromLogitsArgs{.logits = probs,
                                                      .samples = samples,
                                                      .valid = valid,
                                                      .indices = TensorView::of(indices),
                                                      .filter = filter,
                                                      .temperature_rows = TensorView::of(temperature),
                                                      .random = numbers},
                               {.graph = graph}));
  }
  expect_passes(check_on_gpu("renorm_probs", RenormProbsArgs{.probs = probs, .out = out, .filter = filter}));
  expect_passes(check_on_gpu(
      "mask_logits",
      MaskLogitsArgs{
          .logits = probs, .out = out, .filter = filter, .temperature_rows = TensorView::of(temperature)}));
  expect_passes(check_on_gpu(
      "softmax",
      SoftmaxArgs{.logits = probs, .probs = out, .temperature_rows = TensorView::of(temperature)}));
}

TEST_F(CudaSampling, AnotherSeedFailsTheCheck) {
  const op::NamedRoutine routine = op::find_routine("sampling_from_probs");
  op::Case values(routine.routine.parameters);
  for (const auto& [name, value] : rows("20", "1000", "f32")) values.set(name, value);
  op::Random random(1);
  op::Problem problem = routine.routine.make(*routine.op, values, random);
  auto& args = *static_cast<SamplingFromProbsArgs*>(problem.args.get());
  const op::Expected expected = op::expect(*problem.op, &args, problem.axes, 100, random);
  args.random.seed = 1;
  test::run_on_gpu(*problem.op, &args, "", {}, [&](Stream stream) { sampling_from_probs(args, stream); });
  EXPECT_FALSE(op::compare(*problem.op, &args, problem.axes, expected).passed);
}

// A row that softmax cannot hold: its vectors are not aligned.
TEST_F(CudaSampling, SoftmaxOfOddRowsMatchesTheReference) {
  expect_routine_matches_on_gpu("softmax", {{"batch_size", "2"}, {"vocab_size", "1001"}, {"dtype", "f32"}});
}

TEST(SoftmaxChoices, HoldTheRow) {
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures)
    for (const auto& [dtype, vector] : {std::pair(Dtype::kF32, 4), {Dtype::kBf16, 8}})
      for (const int rows : {1, 64, 1000})
        for (const int vocab : {8, 4096, 4104, 16384, 32000, 128256, 163840}) {
          const op::SoftmaxChoice choice = op::choose_softmax(
              {.dtype = dtype, .rows = rows, .vocab_size = vocab, .vector = vector}, facts.architecture, 132);
          const int most = !facts.has_tma                                     ? 16384
                           : facts.architecture == cuda::Architecture::kSm90a ? 163840
                                                                              : 131072;
          if (vocab <= most) EXPECT_GT(choice.steps, 0) << facts.name << " " << vocab;
          if (choice.steps > 0) EXPECT_GE(choice.cluster * 512 * choice.steps * vector, vocab);
        }
  const auto architecture = cuda::Architecture::kSm90a;
  EXPECT_EQ(op::choose_softmax({.rows = 1, .vocab_size = 163844, .vector = 4}, architecture, 132).steps, 0);
  EXPECT_EQ(op::choose_softmax({.rows = 1, .vocab_size = 1001, .vector = 1}, architecture, 132).steps, 0);
}

// Every column has a lane, and what a block keeps has room.
TEST(SamplingChoices, CoverTheRow) {
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures)
    for (Dtype dtype : {Dtype::kF32, Dtype::kBf16})
      for (int vector : {1, 2, 4, 8})
        for (const auto& [rows, vocab] : std::vector<std::pair<int, int>>{{1, 1},
                                                                          {7, 511},
                                                                          {7, 513},
                                                                          {7, 4096},
                                                                          {1, 32000},
                                                                          {256, 32000},
                                                                          {256, 151936},
                                                                          {1, 1 << 22}}) {
          if (vector * static_cast<int>(size_of(dtype)) > 16) continue;
          const op::SamplingChoice choice = op::choose_sampling(
              {.dtype = dtype, .rows = rows, .vocab_size = vocab, .vector = vector}, facts.architecture, 132);
          EXPECT_GE(std::int64_t{choice.segments} * choice.segment_columns, vocab);
          EXPECT_LT((std::int64_t{choice.segments} - 1) * choice.segment_columns, vocab);
          EXPECT_LE(choice.shared_bytes, facts.shared_bytes_per_block);
        }
}

}  // namespace
}  // namespace strobe
