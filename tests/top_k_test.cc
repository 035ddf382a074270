#include "strobe/top_k.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support/call_check.h"
#include "support/layouts.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::error_message;
using test::expect_matches_reference;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<std::int64_t> indices_of(std::vector<float> row, std::int64_t k, bool last_first = false) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(k), -7);
  const auto size = static_cast<std::int64_t>(row.size());
  const Tensor values(Dtype::kF32, {1, k});
  top_k({.input = TensorView(row.data(), Dtype::kF32, {1, size}),
         .values = values,
         .indices = TensorView(indices.data(), Dtype::kI64, {1, k}),
         .last_first = last_first});
  for (std::size_t j = 0; j < indices.size(); ++j) {
    const float want = row[static_cast<std::size_t>(indices[j])], got = values.as<float>()[j];
    EXPECT_TRUE(got == want || (std::isnan(got) && std::isnan(want)));
  }
  return indices;
}

TEST(TopK, MatchesTheReferenceOverDtypesAndSizes) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const auto& [vocab, k] : {std::pair("1", "1"),
                                   {"17", "3"},
                                   {"1000", "50"},
                                   {"1000", "1000"},
                                   {"20011", "7"},
                                   {"20011", "3000"}})
      for (const char* last : {"false", "true"})
        for (const char* indices : {"i32", "i64"})
          expect_matches_reference("top_k", {{"batch_size", "3"},
                                             {"vocab_size", vocab},
                                             {"k", k},
                                             {"dtype", dtype},
                                             {"indices_dtype", indices},
                                             {"last_first", last}});
}

TEST(TopK, TransformsMatchTheReference) {
  for (const char* dtype : {"f32", "bf16"})
    for (const char* k : {"1", "64", "500"}) {
      const test::Values values = {{"num_rows", "7"}, {"max_len", "900"}, {"k", k}, {"dtype", dtype}};
      expect_matches_reference("top_k_ragged_transform", values);
      for (const char* page_size : {"1", "16"}) {
        test::Values paged = values;
        paged.insert(paged.end(), {{"num_batches", "7"}, {"max_pages", "40"}, {"page_size", page_size}});
        expect_matches_reference("top_k_page_table_transform", paged);
      }
    }
}

TEST(TopK, TakesStridedRows) {
  const Tensor wide(Dtype::kF32, {3, 40}), values(Dtype::kF32, {3, 4}), indices(Dtype::kI32, {3, 4});
  op::Random random(2);
  for (int i = 0; i < 120; ++i) wide.as<float>()[i] = static_cast<float>(random.uniform());
  TensorView part = wide;
  part.shape[1] = 31;
  const auto result = test::check_call("top_k", TopKArgs{.input = part, .values = values, .indices = indices},
                                       [](const TopKArgs& args) { top_k(args); });
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST(TopK, EqualValuesComeInTheOrderOfTheirIndices) {
  EXPECT_THAT(indices_of({1, 3, 2, 3, 3, 0}, 2), ElementsAre(1, 3));
  EXPECT_THAT(indices_of({1, 3, 2, 3, 3, 0}, 4), ElementsAre(1, 3, 4, 2));
  EXPECT_THAT(indices_of({1, 3, 2, 3, 3, 0}, 2, true), ElementsAre(4, 3));
  EXPECT_THAT(indices_of({0.0f, -0.0f, 0.0f}, 2), ElementsAre(0, 1));
  EXPECT_THAT(indices_of(std::vector<float>(70000, 2.5f), 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(indices_of(std::vector<float>(70000, 2.5f), 3, true), ElementsAre(69999, 69998, 69997));
}

TEST(TopK, NanComesFirst) {
  EXPECT_THAT(indices_of({1, -kNan, kInf, kNan, -kInf}, 5), ElementsAre(1, 3, 2, 0, 4));
}

TEST(TopK, PartsOfRows) {
  const Tensor scores(Dtype::kF32, {5, 6});
  for (int i = 0; i < 30; ++i) scores.as<float>()[i] = static_cast<float>(i * 7 % 6);
  // Every row but for its first score: 1 2 3 4 5 0, turned.
  std::vector<std::int32_t> lengths = {6, 2, 9, 3, -1}, starts = {0, 1, 2, 7, 0},
                            offsets = {0, 100, 200, 300, 400}, out(15), batches = {1, 0, 2, 0, 0}, raw(15);
  top_k_ragged_transform({.scores = scores,
                          .offsets = TensorView::of(offsets),
                          .lengths = TensorView::of(lengths),
                          .row_starts = TensorView::of(starts),
                          .out = TensorView(out.data(), Dtype::kI32, {5, 3})});
  // Row 0: 0 1 2 3 4 5; row 2 from its third on: 2 3 4 5.
  EXPECT_THAT(out, ElementsAre(3, 4, 5, 100, 101, -1, 201, 202, 203, -1, -1, -1, -1, -1, -1));
  Tensor table(Dtype::kI32, {2, 3});
  for (int i = 0; i < 6; ++i) table.as<std::int32_t>()[i] = 10 * i;
  std::vector<std::int32_t> first_pages = {0, 0, 0, 0, 0};
  top_k_page_table_transform({.scores = scores,
                              .page_table = table,
                              .lengths = TensorView::of(lengths),
                              .row_to_batch = TensorView::of(batches),
                              .row_starts = TensorView::of(starts),
                              .page_table_row_starts = TensorView::of(first_pages),
                              .out = TensorView(out.data(), Dtype::kI32, {5, 3}),
                              .raw_indices = TensorView(raw.data(), Dtype::kI32, {5, 3}),
                              .page_size = 2});
  EXPECT_THAT(raw, ElementsAre(3, 4, 5, 0, 1, -1, 1, 2, 3, -1, -1, -1, -1, -1, -1));
  // Row 0 is of request 1, whose pages are 30, 40, 50; row 2 of request 2, which is not there.
  EXPECT_THAT(out, ElementsAre(81, 100, 101, 0, 1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
}

TEST(TopK, AnotherOrderFailsTheCheck) {
  test::for_each_problem(
      "top_k", {{"batch_size", "2"}, {"vocab_size", "50"}, {"k", "5"}}, 1,
      [&](op::Problem& problem, op::Random& random, const std::string& label) {
        auto& args = *static_cast<TopKArgs*>(problem.args.get());
        for (std::int64_t i = 0; i < 100; i += 2)  // equal ones
          if (args.input.dtype == Dtype::kF32) args.input.as<float>()[i] = 9;
        if (args.input.dtype != Dtype::kF32) return;
        const op::Expected expected = op::expect(*problem.op, problem.args.get(), problem.axes, 100, random);
        args.last_first = true;
        problem.run();
        EXPECT_FALSE(op::compare(*problem.op, &args, problem.axes, expected).passed) << label;
      });
}

TEST(TopK, NamesWhatIsWrong) {
  const Tensor input(Dtype::kF32, {2, 8}), values(Dtype::kF32, {2, 9}), indices(Dtype::kI32, {2, 9}),
      ints(Dtype::kI32, {2}), out(Dtype::kI32, {2, 3}), table(Dtype::kI32, {1, 8});
  EXPECT_THAT(error_message([&] { top_k({.input = input, .values = values, .indices = indices}); }),
              HasSubstr("top_k: k: expected 1 to vocab_size = 8, got 9"));
  EXPECT_THAT(error_message([&] {
                top_k_page_table_transform(
                    {.scores = input, .page_table = table, .lengths = ints, .out = out, .page_size = 3});
              }),
              HasSubstr("page_size: expected a power of two, got 3"));
  EXPECT_THAT(
      error_message([&] {
        top_k_page_table_transform({.scores = input, .page_table = table, .lengths = ints, .out = out});
      }),
      HasSubstr("page_table: expected at least num_rows = 2 rows without row_to_batch, got i32[1, 8]"));
  EXPECT_THAT(error_message([&] {
                top_k_page_table_transform({.scores = input,
                                            .page_table = table,
                                            .lengths = ints,
                                            .row_to_batch = ints,
                                            .row_starts = ints,
                                            .out = out,
                                            .page_size = 2});
              }),
              HasSubstr("page_table_row_starts: expected them beside row_starts"));
}

}  // namespace
}  // namespace strobe
