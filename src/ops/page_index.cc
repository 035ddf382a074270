// The index arrays of paged caches, made from others.
#include <algorithm>
#include <limits>

#include "op/call.h"
#include "op/declare.h"
#include "ops/page_cuda.h"
#include "ops/page_places.h"
#include "reference/page.h"
#include "strobe/page.h"

namespace strobe::inline v1 {
namespace {

using op::Accuracy;
using op::Axes;
using op::Cost;
using op::Declare;
using op::Operator;
using op::Phase;
using op::Random;
using op::reject;

constexpr Dtype kInt32 = Dtype::kI32;
constexpr int kBatchSize = 0, kNnz = 1;  // axis numbers in these declarations

std::int32_t* values(const TensorView& view) { return view.as<std::int32_t>(); }
double bytes(const TensorView& view) { return static_cast<double>(view.bytes()); }

using PositionsArgs = BatchIndicesPositionsArgs;

void check_appends(const Operator& op, const PositionsArgs& args, const Axes& axes) {
  if (args.append_indptr.device.type != DeviceType::kCpu) return;
  const std::int32_t *indptr = values(args.append_indptr), *seq_lens = values(args.seq_lens);
  if (indptr[0] != 0) reject(op, "append_indptr", "expected append_indptr[0] = 0, got {}", indptr[0]);
  for (std::int64_t r = 0; r < axes[kBatchSize]; ++r) {
    if (indptr[r + 1] < indptr[r])
      reject(op, "append_indptr", "expected values that do not decrease, got append_indptr[{}] = {} after {}",
             r + 1, indptr[r + 1], indptr[r]);
    if (seq_lens[r] < indptr[r + 1] - indptr[r])
      reject(op, "seq_lens", "expected at least the {} tokens that request {} appends, got {}",
             indptr[r + 1] - indptr[r], r, seq_lens[r]);
  }
  if (indptr[axes[kBatchSize]] > axes[kNnz])
    reject(op, "append_indptr", "expected values up to nnz = {}, got append_indptr[{}] = {}", axes[kNnz],
           axes[kBatchSize], indptr[axes[kBatchSize]]);
}

void batch_indices_positions_cpu(const PositionsArgs& args, const Axes& axes) {
  const std::int32_t *indptr = values(args.append_indptr), *seq_lens = values(args.seq_lens);
  std::int32_t *batch_indices = values(args.batch_indices), *positions = values(args.positions);
  for (std::int64_t r = 0; r < axes[kBatchSize]; ++r)
    for (std::int32_t t = indptr[r]; t < indptr[r + 1]; ++t) {
      batch_indices[t] = static_cast<std::int32_t>(r);
      positions[t] = seq_lens[r] - (indptr[r + 1] - t);
    }
  for (std::int64_t t = indptr[axes[kBatchSize]]; t < axes[kNnz]; ++t) batch_indices[t] = positions[t] = -1;
}

const Operator& get_batch_indices_positions_operator() {
  static const Operator op =
      Declare<PositionsArgs>("get_batch_indices_positions", "page_index",
                             "Request and position of each appended token.")
          .formula(
              "batch_indices[t] = r, positions[t] = seq_lens[r] - append_indptr[r + 1] + t for "
              "append_indptr[r] <= t < append_indptr[r + 1]; "
              "-1 beyond the last request")
          .function("strobe::get_batch_indices_positions")
          .axis("batch_size", 64, "requests")
          .axis("nnz", 4096, "tokens to append, of all requests, and padding")
          .input<&PositionsArgs::append_indptr>("append_indptr", "batch_size+1", kInt32,
                                                "first token of each request")
          .dense()
          .fill([](const TensorView& view, const Axes& axes, const PositionsArgs&, Random&) {
            for (std::int64_t r = 0; r < view.shape[0]; ++r)
              values(view)[r] =
                  static_cast<std::int32_t>(r * axes[kNnz] / std::max<std::int64_t>(1, axes[kBatchSize]));
          })
          .input<&PositionsArgs::seq_lens>("seq_lens", "batch_size", kInt32,
                                           "tokens of each request after the append")
          .dense()
          .fill([](const TensorView& view, const Axes& axes, const PositionsArgs&, Random& random) {
            for (std::int64_t r = 0; r < view.shape[0]; ++r)
              values(view)[r] = static_cast<std::int32_t>(axes[kNnz] + random.integer(0, 8192));
          })
          .output<&PositionsArgs::batch_indices>("batch_indices", "nnz", kInt32,
                                                 "request of each token; -1: padding")
          .dense()
          .output<&PositionsArgs::positions>("positions", "nnz", kInt32,
                                             "position of each token in its request; -1: padding")
          .dense()
          .rule("append_indptr goes from 0 to at most nnz and does not decrease")
          .rule("seq_lens[r] is at least append_indptr[r + 1] - append_indptr[r]")
          .check([](const Operator& self, const PositionsArgs& args, const Axes& axes, Phase) {
            check_appends(self, args, axes);
          })
          .cost([](const PositionsArgs& args, const Axes&) {
            return Cost{.bytes = bytes(args.append_indptr) + bytes(args.seq_lens) +
                                 bytes(args.batch_indices) + bytes(args.positions)};
          })
          .accuracy([](const PositionsArgs&, const Axes&, int) { return Accuracy{}; })
          .reference([](const PositionsArgs& args, const Axes&, op::Expected& expected) {
            reference::get_batch_indices_positions(args, expected);
          })
          .backend(Backend::kCpu, [](const PositionsArgs& args, const Axes& axes,
                                     const Launch&) { batch_indices_positions_cpu(args, axes); })
          .backend(Backend::kCudaSm80, [](const PositionsArgs& args, const Axes&,
                                          const Launch& launch) { op::run_positions_cuda(args, launch); })
          .build();
  return op;
}

std::int64_t seq_len(const SeqLensArgs& args, std::int64_t request) {
  const std::int32_t* indptr = values(args.kv_indptr);
  const std::int64_t pages = static_cast<std::int64_t>(indptr[request + 1]) - indptr[request];
  return std::max<std::int64_t>(pages - 1, 0) * args.page_size + values(args.kv_last_page_len)[request];
}

void check_pages(const Operator& op, const SeqLensArgs& args, const Axes& axes) {
  if (args.kv_indptr.device.type != DeviceType::kCpu) return;
  ops::check_last_page_len(op, args.kv_indptr, args.kv_last_page_len, args.page_size);
  for (std::int64_t r = 0; r < axes[kBatchSize]; ++r)
    if (seq_len(args, r) > std::numeric_limits<std::int32_t>::max())
      reject(op, "kv_indptr", "expected lengths that fit in i32, got {} tokens for request {}",
             seq_len(args, r), r);
}

void seq_lens_cpu(const SeqLensArgs& args, const Axes& axes) {
  for (std::int64_t r = 0; r < axes[kBatchSize]; ++r)
    values(args.seq_lens)[r] = static_cast<std::int32_t>(seq_len(args, r));
}

const Operator& get_seq_lens_operator() {
  static const Operator op =
      Declare<SeqLensArgs>("get_seq_lens", "page_index", "Tokens of each request of a paged cache.")
          .formula(
              "seq_lens[r] = max(kv_indptr[r + 1] - kv_indptr[r] - 1, 0) * page_size + kv_last_page_len[r]")
          .function("strobe::get_seq_lens")
          .axis("batch_size", 256, "requests")
          .input<&SeqLensArgs::kv_indptr>("kv_indptr", "batch_size+1", kInt32, "first page of each request")
          .dense()
          .fill([](const TensorView& view, const Axes&, const SeqLensArgs&, Random& random) {
            std::int32_t pages = 0;
            for (std::int64_t r = 0; r < view.shape[0];
                 ++r, pages += static_cast<std::int32_t>(random.integer(1, 512)))
              values(view)[r] = pages;
          })
          .input<&SeqLensArgs::kv_last_page_len>("kv_last_page_len", "batch_size", kInt32,
                                                 "tokens in each request's last page")
          .dense()
          .fill([](const TensorView& view, const Axes&, const SeqLensArgs& args, Random& random) {
            for (std::int64_t r = 0; r < view.shape[0]; ++r)
              values(view)[r] = static_cast<std::int32_t>(random.integer(1, args.page_size));
          })
          .output<&SeqLensArgs::seq_lens>("seq_lens", "batch_size", kInt32, "tokens of each request")
          .dense()
          .attribute<&SeqLensArgs::page_size>("page_size", 1, 1 << 20, "tokens of a page")
          .rule("kv_indptr does not decrease")
          .rule("kv_last_page_len is in [1, page_size], or 0 for a request without pages")
          .check([](const Operator& self, const SeqLensArgs& args, const Axes& axes, Phase) {
            check_pages(self, args, axes);
          })
          .cost([](const SeqLensArgs& args, const Axes&) {
            return Cost{.bytes = bytes(args.kv_indptr) + bytes(args.kv_last_page_len) + bytes(args.seq_lens)};
          })
          .accuracy([](const SeqLensArgs&, const Axes&, int) { return Accuracy{}; })
          .reference([](const SeqLensArgs& args, const Axes&, op::Expected& expected) {
            reference::get_seq_lens(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const SeqLensArgs& args, const Axes& axes, const Launch&) { seq_lens_cpu(args, axes); })
          .backend(Backend::kCudaSm80, [](const SeqLensArgs& args, const Axes&,
                                          const Launch& launch) { op::run_seq_lens_cuda(args, launch); })
          .build();
  return op;
}

}  // namespace

void get_batch_indices_positions(const BatchIndicesPositionsArgs& args, const Launch& launch) {
  op::call(get_batch_indices_positions_operator(), args, launch);
}
void get_seq_lens(const SeqLensArgs& args, const Launch& launch) {
  op::call(get_seq_lens_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_page_index(Registry& registry) {
  registry.add(get_batch_indices_positions_operator());
  registry.add(get_seq_lens_operator());
}

}  // namespace strobe::op
