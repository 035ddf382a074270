#include "ops/rope_cuda.h"

#include <algorithm>
#include <cstring>

#include "cpu/rope_turns.h"
#include "ops/cuda_rows.h"
#include "rope/rope_mode.h"
#include "rope/rope_params.h"

namespace strobe::op {
namespace {

using kernel::RopePositions;

// The constants of kernels/rope/rope.cuh, in the order of its source.
enum { kType, kPositions, kTable, kInterleave, kVector, kItems, kPairs };

constexpr int kThreads = 256;  // of the kernel
constexpr int kPositionForms[] = {static_cast<int>(RopePositions::kOffsets),
                                  static_cast<int>(RopePositions::kInt32),
                                  static_cast<int>(RopePositions::kInt64)};
constexpr int kVectors[] = {1, 4, 8};
constexpr int kItemCounts[] = {1, 2, 4};
// Pairs that the parameters have room for: heads of up to 128 elements, and kMaxRotaryDim.
constexpr int kFewPairs = 64, kManyPairs = kMaxRotaryDim / 2;
constexpr int kPairCounts[] = {kFewPairs, kManyPairs};

std::string print_positions(int value) {
  constexpr std::string_view kNames[] = {"kOffsets", "kInt32", "kInt64"};
  return fmt::format("strobe::kernel::RopePositions::{}", kNames[value]);
}

constexpr jit::Constant kConstants[] = {
    {"kType", kDtypeType, kFloatDtypes, print_dtype},
    {"kPositions", "strobe::kernel::RopePositions", kPositionForms, print_positions},
    {"kTable", "bool", kBools, print_bool},
    {"kInterleave", "bool", kBools, print_bool},
    {"kVector", "int", kVectors},
    {"kItems", "int", kItemCounts},
    {"kPairs", "int", kPairCounts},
};

// Heads of a thread where there are many tokens; the kernel's note says why.
constexpr int many_items(bool table) { return table ? 4 : 2; }

bool valid(jit::Values values, cuda::Architecture) {
  if (values[kTable] && values[kPositions] == static_cast<int>(RopePositions::kOffsets)) return false;
  if (values[kVector] == 1) return values[kItems] == 1;
  if (values[kItems] > 1 && values[kItems] != many_items(values[kTable] != 0)) return false;
  return values[kVector] == widest_vector(static_cast<Dtype>(values[kType]));
}

constexpr jit::KernelSource kRope = {
    .name = "rope",
    .header = "rope/rope.cuh",
    .types = "rope/rope_mode.h",
    .constants = kConstants,
    .valid = valid,
    .launch_facts = [](jit::Values, cuda::Architecture) { return jit::LaunchFacts{.threads = kThreads}; }};

kernel::RopeHeads heads_of(const TensorView& in, const TensorView& out) {
  const auto bytes = static_cast<std::int64_t>(size_of(in.dtype));
  return {.in = in.as<char>(),
          .out = out.as<char>(),
          .in_token_stride = in.strides[0] * bytes,
          .in_head_stride = in.strides[1] * bytes,
          .out_token_stride = out.strides[0] * bytes,
          .out_head_stride = out.strides[1] * bytes};
}

template <class T>
const T* data_of(const TensorView* view) {
  return view != nullptr ? view->as<const T>() : nullptr;
}

RopePositions positions_of(const RopeCudaArgs& args) {
  if (args.indptr != nullptr) return RopePositions::kOffsets;
  return args.positions->dtype == Dtype::kI64 ? RopePositions::kInt64 : RopePositions::kInt32;
}

template <int kRoom>
void launch_rope(const RopeCudaArgs& args, const RopeChoice& choice, const Gpu& gpu, const Launch& launch) {
  kernel::RopeParams<kRoom> params{
      .q = heads_of(args.q, args.q_out),
      .k = heads_of(args.k, args.k_out),
      .indptr = data_of<std::int32_t>(args.indptr),
      .offsets = data_of<std::int32_t>(args.offsets),
      .positions = data_of<void>(args.positions),
      .cos_sin_cache = data_of<float>(args.cos_sin_cache),
      .cos_sin_stride = args.cos_sin_cache != nullptr ? args.cos_sin_cache->strides[0] : 0,
      .max_position = args.cos_sin_cache != nullptr ? args.cos_sin_cache->shape[0] : 0,
      .tokens = static_cast<std::uint32_t>(args.q.shape[0]),
      .batch_size = args.offsets != nullptr ? static_cast<std::int32_t>(args.offsets->shape[0]) : 0,
      .num_qo_heads = static_cast<std::int32_t>(args.q.shape[1]),
      .num_heads = static_cast<std::int32_t>(args.q.shape[1] + args.k.shape[1]),
      .head_dim = static_cast<std::int32_t>(args.q.shape[2]),
      .rotary_dim = args.rotary_dim,
      .rotary_columns = choice.rotary_columns,
      .head_groups = choice.head_groups,
      .columns = divisor(choice.columns),
      .slots = divisor(std::int64_t{choice.columns} * choice.head_groups),
      .block_tokens = static_cast<std::uint32_t>(choice.block_tokens),
      .pairs = divisor(args.rotary_dim / 2),
      .prefetches = runs_at_once(choice.blocks, kThreads, gpu),
      .turns = {}};
  if (args.scaling != nullptr)
    std::memcpy(params.turns, cpu::rope_turns(args.rotary_dim, *args.scaling),
                static_cast<std::size_t>(args.rotary_dim / 2) * sizeof params.turns[0]);
  launch_kernel(kRope,
                {static_cast<int>(args.q.dtype), static_cast<int>(positions_of(args)),
                 args.cos_sin_cache != nullptr, args.interleave, choice.vector, choice.items, kRoom},
                gpu, choice.blocks, params, launch);
}

}  // namespace

// Few tokens: a thread has one head, since the time is that of one load. Many: several, which hide the
// latency of each other. A block has as many tokens as it has threads for.
RopeChoice choose_rope(const RopeShape& shape, int sm_count) {
  constexpr int kThreadsThatFillAnSm = 1024;
  const std::int64_t rest = shape.copy_rest ? shape.head_dim - shape.rotary_dim : 0;
  RopeChoice choice{.vector = shape.vector};
  choice.rotary_columns = shape.rotary_dim / 2 / shape.vector;
  choice.columns = choice.rotary_columns + static_cast<int>(ceil_div(rest, 2 * shape.vector));
  const int many = many_items(shape.table);
  const std::int64_t vectors = shape.tokens * shape.heads * choice.columns;
  const bool are_many = vectors >= std::int64_t{sm_count} * kThreadsThatFillAnSm * many;
  choice.items = shape.vector > 1 && are_many ? many : 1;
  choice.head_groups = static_cast<int>(ceil_div(shape.heads, choice.items));
  const int slots = choice.columns * choice.head_groups;
  choice.block_tokens = std::max(1, kThreads / std::max(1, slots));
  choice.blocks = ceil_div(shape.tokens, choice.block_tokens);
  return choice;
}

void run_rope_cuda(const RopeCudaArgs& args, const Launch& launch) {
  const std::int64_t heads = args.q.shape[1] + args.k.shape[1], head_dim = args.q.shape[2];
  if (args.q.shape[0] == 0 || heads == 0 || head_dim == 0) return;
  const Gpu gpu = gpu_of(args.q.device);
  VectorWidth width(widest_vector(args.q.dtype));
  width.extent(args.rotary_dim / 2).extent(head_dim - args.rotary_dim).rows(args.q).rows(args.k);
  width.rows(args.q_out).rows(args.k_out);
  const RopeChoice choice =
      choose_rope({.tokens = args.q.shape[0],
                   .heads = heads,
                   .head_dim = static_cast<int>(head_dim),
                   .rotary_dim = args.rotary_dim,
                   .vector = width.all_or_one(),
                   .table = args.cos_sin_cache != nullptr,
                   .copy_rest = args.q.data != args.q_out.data || args.k.data != args.k_out.data},
                  gpu.sm_count);
  if (choice.columns == 0) return;  // nothing turns, and all is in place
  if (std::int64_t{choice.columns} * choice.head_groups > kMaxRows / kThreads || args.q.shape[0] > kMaxRows)
    fail(ErrorKind::kUnsupported, "rope: {} tokens of {} heads of {} elements on a GPU, that is too many",
         args.q.shape[0], heads, head_dim);
  if (args.rotary_dim / 2 <= kFewPairs)
    launch_rope<kFewPairs>(args, choice, gpu, launch);
  else
    launch_rope<kManyPairs>(args, choice, gpu, launch);
}

void declare_rope_kernels(jit::KernelRegistry& registry) { registry.add(kRope); }

}  // namespace strobe::op
