#include <limits>

#include "strobe/top_k.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::check_on_gpu;
using test::expect_routine_matches_on_gpu;

class CudaTopK : public test::GpuTest {};

test::Values sizes(const std::string& vocab, const std::string& k, const std::string& dtype) {
  return {{"batch_size", "2"}, {"vocab_size", vocab}, {"k", k}, {"dtype", dtype}};
}

// Rows that fit in a list, rows of which a sample is taken; one block a row, and clusters.
TEST_F(CudaTopK, MatchesTheReference) {
  for (const auto& [vocab, k, dtype] : {std::tuple("1", "1", "f32"),
                                        {"1001", "50", "f32"},
                                        {"1000", "1000", "bf16"},
                                        {"20480", "50", "f32"},
                                        {"20480", "2048", "f32"},
                                        {"32768", "300", "bf16"}})
    expect_routine_matches_on_gpu("top_k", sizes(vocab, k, dtype));
}

// Equal values, more than a list holds; Inf and NaN; the last first.
TEST_F(CudaTopK, RowsThatMisleadAGuessMatchTheReference) {
  constexpr std::int64_t kRows = 4, kVocab = 20480;
  Tensor input(Dtype::kF32, {kRows, kVocab});
  for (int j = 0; j < kVocab; ++j) {
    input.view().at<float>(0, j) = 1;
    input.view().at<float>(1, j) = static_cast<float>(j % 3);
    input.view().at<float>(2, j) = j % 5000 == 17 ? std::numeric_limits<float>::quiet_NaN()
                                   : j % 7 == 0   ? std::numeric_limits<float>::infinity()
                                                  : static_cast<float>(-j);
    input.view().at<float>(3, j) = -std::numeric_limits<float>::infinity();
  }
  const Tensor values(Dtype::kF32, {kRows, 60}), indices(Dtype::kI64, {kRows, 60});
  for (const bool last_first : {false, true}) {
    const op::CheckResult result = check_on_gpu(
        "top_k", TopKArgs{.input = input, .values = values, .indices = indices, .last_first = last_first});
    EXPECT_TRUE(result.passed) << result.worst;
  }
}

TEST_F(CudaTopK, TransformsMatchTheReference) {
  for (const char* k : {"64", "2000"}) {
    const test::Values values = {{"num_rows", "3"}, {"max_len", "20480"}, {"k", k}};
    expect_routine_matches_on_gpu("top_k_ragged_transform", values);
    test::Values paged = values;
    paged.insert(paged.end(), {{"num_batches", "3"}, {"max_pages", "400"}, {"page_size", "16"}});
    expect_routine_matches_on_gpu("top_k_page_table_transform", paged);
  }
}

TEST_F(CudaTopK, PartsOfRowsMatchTheReference) {
  constexpr std::int64_t kRows = 5, kLength = 20480, kK = 100;
  Tensor scores(Dtype::kBf16, {kRows, kLength}), table(Dtype::kI32, {3, 4000});
  op::Random random(5);
  for (std::int64_t i = 0; i < scores.view().size(); ++i)
    scores.as<Bf16>()[i] = Bf16(static_cast<float>(random.uniform()));
  for (int i = 0; i < 12000; ++i) table.as<std::int32_t>()[i] = i * 3;
  std::vector<std::int32_t> lengths = {20000, 50, 30000, 17, -3}, starts = {333, 1, 7, 30000, 5},
                            offsets = {0, 10, 20, 30, 40}, batches = {2, 0, 1, 0, 9},
                            first_pages = {1, 2, 3, 4, 5};
  const Tensor out(Dtype::kI32, {kRows, kK}), raw(Dtype::kI32, {kRows, kK});
  const op::CheckResult ragged =
      check_on_gpu("top_k_ragged_transform", TopKRaggedTransformArgs{.scores = scores,
                                                                     .offsets = TensorView::of(offsets),
                                                                     .lengths = TensorView::of(lengths),
                                                                     .row_starts = TensorView::of(starts),
                                                                     .out = out});
  EXPECT_TRUE(ragged.passed) << ragged.worst;
  const op::CheckResult paged =
      check_on_gpu("top_k_page_table_transform",
                   TopKPageTableTransformArgs{.scores = scores,
                                              .page_table = table,
                                              .lengths = TensorView::of(lengths),
                                              .row_to_batch = TensorView::of(batches),
                                              .row_starts = TensorView::of(starts),
                                              .page_table_row_starts = TensorView::of(first_pages),
                                              .out = out,
                                              .raw_indices = raw,
                                              .page_size = 4});
  EXPECT_TRUE(paged.passed) << paged.worst;
}

}  // namespace
}  // namespace strobe
