#include "reference/merge.h"

#include "cpu/merge_kernel.h"
#include "op/call.h"
#include "op/declare.h"
#include "ops/merge_cuda.h"
#include "ops/operand_bytes.h"
#include "ops/row_views.h"
#include "strobe/cascade.h"

namespace strobe::inline v1 {
namespace {

using op::Accuracy;
using op::Axes;
using op::Cost;
using op::Declare;
using op::kFloats;
using op::operand_bytes;
using op::Operator;
using op::Random;
using op::same_as;

constexpr char kSource[] =
    "Ye et al., FlashInfer: Efficient and Customizable Attention Engine for LLM Inference Serving, 2025";

// `view` with one more, innermost axis: each element of s becomes a row of one, so that s has the leading
// axes of v.
TensorView as_rows(TensorView view) {
  view.shape[static_cast<std::size_t>(view.rank)] = 1;
  view.strides[static_cast<std::size_t>(view.rank)] = 1;
  ++view.rank;
  return view;
}

// The mask [num_tokens] as rows of [num_tokens, num_heads]; without one, a true element for all of them.
TensorView mask_rows(const TensorView& mask, const TensorView& s) {
  static const std::uint8_t kMergeAll = 1;
  TensorView rows = as_rows(s);
  rows.data = mask.given() ? mask.data : const_cast<std::uint8_t*>(&kMergeAll);
  rows.dtype = Dtype::kBool;
  rows.strides = {mask.given() ? mask.strides[0] : 0, 0, 0};
  return rows;
}

// Bytes of one token's head in so many states and their merge.
std::int64_t bytes_of_rows(const TensorView& v, std::int64_t states) {
  const std::int64_t head_dim = v.shape[static_cast<std::size_t>(v.rank - 1)];
  return (states + 1) * (head_dim * static_cast<std::int64_t>(size_of(v.dtype)) + 4);
}

void merge_pair(const MergeStateArgs& args, const TensorView& mask) {
  const op::RowBlocks blocks(args.v_a, as_rows(args.s_a), args.v_b, as_rows(args.s_b), args.v,
                             as_rows(args.s), mask_rows(mask, args.s));
  auto* run = *cpu::merge_pair_rows;
  blocks.parallel(bytes_of_rows(args.v, 2), [&](std::int64_t begin, std::int64_t end, void* v_a, void* s_a,
                                                void* v_b, void* s_b, void* v, void* s, void* merge) {
    run({.a = {v_a, static_cast<float*>(s_a), blocks.stride(0), blocks.stride(1)},
         .b = {v_b, static_cast<float*>(s_b), blocks.stride(2), blocks.stride(3)},
         .v = v,
         .s = static_cast<float*>(s),
         .v_stride = blocks.stride(4),
         .s_stride = blocks.stride(5),
         .mask = static_cast<std::uint8_t*>(merge),
         .mask_stride = blocks.stride(6),
         .head_dim = args.v.shape[2],
         .dtype = args.v.dtype},
        begin, end);
  });
}

MergeStateArgs as_pair(const MergeStateInPlaceArgs& args) {
  return {.v_a = args.v, .s_a = args.s, .v_b = args.v_other, .s_b = args.s_other, .v = args.v, .s = args.s};
}

void merge_many(const MergeStatesArgs& args) {
  const std::int64_t num_states = args.v.shape[1];
  // The first state's rows; with no states, any rows of the right shape that nobody reads.
  const TensorView v = num_states > 0 ? args.v.select(1, 0) : args.v_merged;
  const TensorView s = num_states > 0 ? args.s.select(1, 0) : args.s_merged;
  const op::RowBlocks blocks(v, as_rows(s), args.v_merged, as_rows(args.s_merged));
  auto* run = *cpu::merge_states_rows;
  blocks.parallel(bytes_of_rows(args.v, num_states), [&](std::int64_t begin, std::int64_t end, void* v_first,
                                                         void* s_first, void* v_out, void* s_out) {
    run({.first = {v_first, static_cast<float*>(s_first), blocks.stride(0), blocks.stride(1)},
         .state_v_stride = args.v.strides[1],
         .state_s_stride = args.s.strides[1],
         .num_states = num_states,
         .v = v_out,
         .s = static_cast<float*>(s_out),
         .v_stride = blocks.stride(2),
         .s_stride = blocks.stride(3),
         .head_dim = args.v.shape[3],
         .dtype = args.v.dtype,
         .out_dtype = args.v_merged.dtype},
        begin, end);
  });
}

// Log-sum-exps as attention over some hundred keys gives them.
template <class Args>
void fill_lse(const TensorView& view, const Axes&, const Args&, Random& random) {
  fill_normal(view, random, 8, 2);
}

template <class Args>
Declare<Args> declare_merge(std::string name, std::string summary) {
  Declare<Args> declare(name, "merge", std::move(summary));
  declare.formula("m = max_i s_i, w_i = 2^(s_i - m): v = sum_i w_i v_i / sum_i w_i, s = m + log2(sum_i w_i)")
      .source(kSource)
      .function("strobe::" + name)
      .axis("num_tokens", 1024, "query tokens");
  return declare;
}

const Operator& merge_state_operator() {
  using Args = MergeStateArgs;
  constexpr auto kFillLse = [](const TensorView& view, const Axes& axes, const Args& args, Random& random) {
    fill_lse(view, axes, args, random);
  };
  static const Operator op =
      declare_merge<Args>("merge_state", "Merges two attention states.")
          .axis("num_heads", 32, "query heads")
          .axis("head_dim", 128, "elements of a head")
          .input<&Args::v_a>("v_a", "num_tokens, num_heads, head_dim", kFloats, "output over the first keys")
          .input<&Args::s_a>("s_a", "num_tokens, num_heads", Dtype::kF32,
                             "its base-2 log-sum-exp; -Inf: empty")
          .fill(kFillLse)
          .input<&Args::v_b>("v_b", "num_tokens, num_heads, head_dim", same_as("v_a"),
                             "output over the other keys")
          .input<&Args::s_b>("s_b", "num_tokens, num_heads", Dtype::kF32,
                             "its base-2 log-sum-exp; -Inf: empty")
          .fill(kFillLse)
          .output<&Args::v>("v", "num_tokens, num_heads, head_dim", same_as("v_a"), "output over all keys")
          .may_alias("v_a")
          .may_alias("v_b")
          .output<&Args::s>("s", "num_tokens, num_heads", Dtype::kF32, "its base-2 log-sum-exp")
          .may_alias("s_a")
          .may_alias("s_b")
          .cost([](const Args& args, const Axes&) {
            return Cost{.flops = 3 * static_cast<double>(args.v.size()),
                        .bytes = operand_bytes(args.v_a, args.s_a, args.v_b, args.s_b, args.v, args.s)};
          })
          .accuracy([](const Args&, const Axes&, int) { return Accuracy{.reduction = 2}; })
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::merge_state(args, expected);
          })
          .backend(Backend::kCpu, [](const Args& args, const Axes&, const Launch&) { merge_pair(args, {}); })
          .backend(Backend::kCudaSm80,
                   [](const Args& args, const Axes&, const Launch& launch) {
                     op::run_merge_pair_cuda(args, {}, launch);
                   })
          .build();
  return op;
}

const Operator& merge_state_in_place_operator() {
  using Args = MergeStateInPlaceArgs;
  constexpr auto kFillLse = [](const TensorView& view, const Axes& axes, const Args& args, Random& random) {
    fill_lse(view, axes, args, random);
  };
  static const Operator op =
      declare_merge<Args>("merge_state_in_place", "Merges another attention state into one.")
          .axis("num_heads", 32, "query heads")
          .axis("head_dim", 128, "elements of a head")
          .inout<&Args::v>("v", "num_tokens, num_heads, head_dim", kFloats,
                           "output over the first keys, then over all")
          .inout<&Args::s>("s", "num_tokens, num_heads", Dtype::kF32, "its base-2 log-sum-exp; -Inf: empty")
          .fill(kFillLse)
          .input<&Args::v_other>("v_other", "num_tokens, num_heads, head_dim", same_as("v"),
                                 "output over the other keys")
          .input<&Args::s_other>("s_other", "num_tokens, num_heads", Dtype::kF32,
                                 "its base-2 log-sum-exp; -Inf: empty")
          .fill(kFillLse)
          .input<&Args::mask>("mask", "num_tokens", Dtype::kBool, "tokens where it is false stay as they are")
          .optional()
          .cost([](const Args& args, const Axes&) {
            return Cost{.flops = 3 * static_cast<double>(args.v.size()),
                        .bytes = operand_bytes(args.v, args.v, args.s, args.s, args.v_other, args.s_other,
                                               args.mask)};
          })
          .accuracy([](const Args&, const Axes&, int) { return Accuracy{.reduction = 2}; })
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::merge_state_in_place(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const Args& args, const Axes&, const Launch&) { merge_pair(as_pair(args), args.mask); })
          .backend(Backend::kCudaSm80,
                   [](const Args& args, const Axes&, const Launch& launch) {
                     op::run_merge_pair_cuda(as_pair(args), args.mask, launch);
                   })
          .build();
  return op;
}

const Operator& merge_states_operator() {
  using Args = MergeStatesArgs;
  static const Operator op =
      declare_merge<Args>("merge_states", "Merges any number of attention states.")
          .axis("num_states", 4, "states of each token and head; 0 gives v = 0, s = -Inf")
          .axis("num_heads", 32, "query heads")
          .axis("head_dim", 128, "elements of a head")
          .input<&Args::v>("v", "num_tokens, num_states, num_heads, head_dim", kFloats,
                           "outputs over parts of the keys")
          .input<&Args::s>("s", "num_tokens, num_states, num_heads", Dtype::kF32,
                           "their base-2 log-sum-exps; -Inf: empty")
          .fill([](const TensorView& view, const Axes& axes, const Args& args, Random& random) {
            fill_lse(view, axes, args, random);
          })
          .output<&Args::v_merged>("v_merged", "num_tokens, num_heads, head_dim", kFloats,
                                   "output over all keys")
          .output<&Args::s_merged>("s_merged", "num_tokens, num_heads", Dtype::kF32, "its base-2 log-sum-exp")
          .cost([](const Args& args, const Axes&) {
            return Cost{.flops = 2 * static_cast<double>(args.v.size()),
                        .bytes = operand_bytes(args.v, args.s, args.v_merged, args.s_merged)};
          })
          .accuracy([](const Args& args, const Axes&, int) { return Accuracy{.reduction = args.v.shape[1]}; })
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::merge_states(args, expected);
          })
          .rule("v_merged has the dtype of v, or any float dtype where v is f32")
          .check([](const Operator& self, const Args& args, const Axes&, op::Phase) {
            if (args.v.dtype != Dtype::kF32 && args.v_merged.dtype != args.v.dtype)
              op::reject(self, "v_merged", "expected dtype {} (that of v), got {}", name(args.v.dtype),
                         describe(args.v_merged));
          })
          .backend(Backend::kCpu, [](const Args& args, const Axes&, const Launch&) { merge_many(args); })
          .backend(Backend::kCudaSm80, [](const Args& args, const Axes&,
                                          const Launch& launch) { op::run_merge_states_cuda(args, launch); })
          .build();
  return op;
}

}  // namespace

void merge_state(const MergeStateArgs& args, const Launch& launch) {
  op::call(merge_state_operator(), args, launch);
}
void merge_state_in_place(const MergeStateInPlaceArgs& args, const Launch& launch) {
  op::call(merge_state_in_place_operator(), args, launch);
}
void merge_states(const MergeStatesArgs& args, const Launch& launch) {
  op::call(merge_states_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_merge(Registry& registry) {
  registry.add(merge_state_operator());
  registry.add(merge_state_in_place_operator());
  registry.add(merge_states_operator());
}

}  // namespace strobe::op
