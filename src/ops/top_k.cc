#include "strobe/top_k.h"

#include "core/message.h"
#include "op/call.h"
#include "op/declare.h"
#include "ops/operand_bytes.h"
#include "ops/top_k_call.h"
#include "reference/top_k.h"

namespace strobe::inline v1 {
namespace {

using op::Accuracy;
using op::Axes;
using op::Cost;
using op::Declare;
using op::kFloats;
using op::operand_bytes;
using op::Operator;
using op::Phase;
using op::Random;
using op::reject;
using op::same_as;
using op::TopKCall;

constexpr std::int64_t kMostValues = std::int64_t{1} << 22;
constexpr std::int64_t kMostPageSize = std::int64_t{1} << 30;

void check_row(const Operator& op, const TensorView& input) {
  if (input.shape[1] > kMostValues)
    fail(ErrorKind::kUnsupported, "{}: rows of {} values, at most {} are possible", op.name, input.shape[1],
         kMostValues);
}

TopKCall call_of(const TopKArgs& args) {
  return {.op_name = "top_k",
          .input = args.input,
          .indices = args.indices,
          .values = &args.values,
          .last_first = args.last_first};
}
TopKCall call_of(const TopKRaggedTransformArgs& args) {
  return {.op_name = "top_k_ragged_transform",
          .input = args.scores,
          .indices = args.out,
          .last_first = args.last_first,
          .lengths = &args.lengths,
          .row_starts = &args.row_starts,
          .offsets = &args.offsets};
}
TopKCall call_of(const TopKPageTableTransformArgs& args) {
  return {.op_name = "top_k_page_table_transform",
          .input = args.scores,
          .indices = args.out,
          .last_first = args.last_first,
          .lengths = &args.lengths,
          .row_starts = &args.row_starts,
          .page_table = &args.page_table,
          .row_to_batch = &args.row_to_batch,
          .page_table_row_starts = &args.page_table_row_starts,
          .raw_indices = &args.raw_indices,
          .page_size = args.page_size};
}

template <class Args, class D>
D& with_backends(D& declare) {
  return declare
      .template attribute<&Args::last_first>("last_first",
                                             "of equal values the one of the higher index comes first")
      .cost([](const Args& args, const Axes&) {
        const TopKCall call = call_of(args);
        const TensorView none;
        return Cost{
            .flops = 0,
            .bytes = operand_bytes(call.input, call.indices, call.values != nullptr ? *call.values : none)};
      })
      .accuracy([](const Args&, const Axes&, int) { return Accuracy{}; })
      .backend(Backend::kCpu,
               [](const Args& args, const Axes&, const Launch&) { op::run_top_k_cpu(call_of(args)); })
      .backend(Backend::kCudaSm80, [](const Args& args, const Axes&, const Launch& launch) {
        op::run_top_k_cuda(call_of(args), launch);
      });
}

const Operator& top_k_operator() {
  using Args = TopKArgs;
  static const Operator op = [] {
    Declare<Args> declare("top_k", "top_k", "The k largest values of each row and their indices, in order.");
    declare.formula("values[i, j] = input[i, indices[i, j]], the j-th largest of row i")
        .source("elementary")
        .function("strobe::top_k")
        .rule("equal values come in the order of their indices; NaN comes first")
        .axis("batch_size", 64, "rows")
        .axis("vocab_size", 128256, "values of a row")
        .axis("k", 50, "values to find")
        .input<&Args::input>("input", "batch_size, vocab_size", kFloats, "rows of values")
        .output<&Args::values>("values", "batch_size, k", same_as("input"), "the largest values")
        .dense()
        .output<&Args::indices>("indices", "batch_size, k", {Dtype::kI32, Dtype::kI64}, "their indices")
        .dense()
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_row(self, args.input);
          if (args.indices.shape[1] < 1 || args.indices.shape[1] > args.input.shape[1])
            reject(self, "k", "expected 1 to vocab_size = {}, got {}", args.input.shape[1],
                   args.indices.shape[1]);
        })
        .reference(
            [](const Args& args, const Axes&, op::Expected& expected) { reference::top_k(args, expected); });
    return with_backends<Args>(declare).build();
  }();
  return op;
}

// Any values, such as the scores of an indexer.
template <class Args, class D>
D& with_scores(D& declare) {
  return declare
      .source("DeepSeek-AI, DeepSeek-V3.2: Pushing the Frontier of Open Large Language Models, 2025")
      .rule("indices come in their own order; a row of fewer than k scores ends in -1")
      .axis("num_rows", 64, "rows")
      .axis("max_len", 16384, "scores that a row has room for")
      .axis("k", 2048, "indices to find")
      .template input<&Args::scores>("scores", "num_rows, max_len", kFloats, "rows of scores");
}

void fill_lengths(const TensorView& view, std::int64_t most, Random& random) {
  for (std::int64_t i = 0; i < view.shape[0]; ++i)
    view.at<std::int32_t>(i) = static_cast<std::int32_t>(random.uniform() * static_cast<double>(most + 1));
}

template <class Args, class D>
D& with_lengths(D& declare) {
  return declare.template input<&Args::lengths>("lengths", "num_rows", Dtype::kI32, "scores of each row")
      .dense()
      .fill([](const TensorView& view, const Axes&, const Args& args, Random& random) {
        fill_lengths(view, args.scores.shape[1], random);
      })
      .template input<&Args::row_starts>("row_starts", "num_rows", Dtype::kI32, "the first score of each row")
      .optional()
      .dense();
}

void check_k(const Operator& op, const TensorView& out) {
  if (out.shape[1] < 1) reject(op, "k", "expected at least 1, got {}", out.shape[1]);
}

const Operator& ragged_operator() {
  using Args = TopKRaggedTransformArgs;
  static const Operator op = [] {
    Declare<Args> declare("top_k_ragged_transform", "top_k",
                          "Indices of the k largest scores of each row, in a ragged cache.");
    declare.formula("out[i, j] = offsets[i] + the j-th index of the k largest of scores[i]")
        .function("strobe::top_k_ragged_transform");
    with_lengths<Args>(with_scores<Args>(declare))
        .input<&Args::offsets>("offsets", "num_rows", Dtype::kI32, "added to the indices of each row")
        .dense()
        .fill([](const TensorView& view, const Axes&, const Args& args, Random&) {
          for (std::int64_t i = 0; i < view.shape[0]; ++i)
            view.at<std::int32_t>(i) = static_cast<std::int32_t>(i * args.scores.shape[1]);
        })
        .output<&Args::out>("out", "num_rows, k", Dtype::kI32, "indices in the cache, then -1")
        .dense()
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_row(self, args.scores);
          check_k(self, args.out);
        })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::top_k_ragged_transform(args, expected);
        });
    return with_backends<Args>(declare).build();
  }();
  return op;
}

const Operator& page_table_operator() {
  using Args = TopKPageTableTransformArgs;
  static const Operator op = [] {
    Declare<Args> declare("top_k_page_table_transform", "top_k",
                          "Indices of the k largest scores of each row, in a paged cache.");
    declare
        .formula(
            "out[i, j] = page_table[b, first + x / page_size] * page_size + x % page_size, x the j-th index "
            "of "
            "the k largest of scores[i]")
        .function("strobe::top_k_page_table_transform");
    with_lengths<Args>(with_scores<Args>(declare)
                           .axis("num_batches", 64, "rows of the page table")
                           .axis("max_pages", 16384, "pages that a row of the table has room for"))
        .input<&Args::page_table>("page_table", "num_batches, max_pages", Dtype::kI32,
                                  "pages of each request")
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          for (std::int64_t i = 0; i < view.shape[0]; ++i)
            for (std::int64_t j = 0; j < view.shape[1]; ++j)
              view.at<std::int32_t>(i, j) = static_cast<std::int32_t>(random.uniform() * 1e5);
        })
        .input<&Args::row_to_batch>("row_to_batch", "num_rows", Dtype::kI32, "row of the page table")
        .optional()
        .dense()
        .input<&Args::page_table_row_starts>("page_table_row_starts", "num_rows", Dtype::kI32,
                                             "the first page of each row")
        .optional()
        .dense()
        .output<&Args::out>("out", "num_rows, k", Dtype::kI32, "places in the cache, then -1")
        .dense()
        .output<&Args::raw_indices>("raw_indices", "num_rows, k", Dtype::kI32, "the indices themselves")
        .optional()
        .dense()
        .attribute<&Args::page_size>("page_size", 1, kMostPageSize, "scores of a page, a power of two")
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_row(self, args.scores);
          check_k(self, args.out);
          if ((args.page_size & (args.page_size - 1)) != 0)
            reject(self, "page_size", "expected a power of two, got {}", args.page_size);
          if (args.page_size > 1 && args.row_starts.given() && !args.page_table_row_starts.given())
            reject(self, "page_table_row_starts",
                   "expected them beside row_starts where pages have {} scores, got none", args.page_size);
          if (!args.row_to_batch.given() && args.scores.shape[0] > args.page_table.shape[0])
            reject(self, "page_table", "expected at least num_rows = {} rows without row_to_batch, got {}",
                   args.scores.shape[0], describe(args.page_table));
        })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::top_k_page_table_transform(args, expected);
        });
    return with_backends<Args>(declare).build();
  }();
  return op;
}

}  // namespace

void top_k(const TopKArgs& args, const Launch& launch) { op::call(top_k_operator(), args, launch); }
void top_k_ragged_transform(const TopKRaggedTransformArgs& args, const Launch& launch) {
  op::call(ragged_operator(), args, launch);
}
void top_k_page_table_transform(const TopKPageTableTransformArgs& args, const Launch& launch) {
  op::call(page_table_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_top_k(Registry& registry) {
  registry.add(top_k_operator());
  registry.add(ragged_operator());
  registry.add(page_table_operator());
}

}  // namespace strobe::op
