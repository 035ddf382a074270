#include "ops/merge_cuda.h"

#include <algorithm>

#include "merge/merge_params.h"
#include "ops/cuda_rows.h"

namespace strobe::op {
namespace {

constexpr int kThreads = 256;  // of both kernels
constexpr int kVectors[] = {1, 2, 4, 8};

bool narrow_enough(int dtype, int vector) { return vector <= widest_vector(static_cast<Dtype>(dtype)); }
jit::LaunchFacts launch_facts(jit::Values, cuda::Architecture) { return {.threads = kThreads}; }

constexpr jit::Constant kPairConstants[] = {{"kType", kDtypeType, kFloatDtypes, print_dtype},
                                            {"kVector", "int", kVectors}};
constexpr jit::KernelSource kMergePair = {
    .name = "merge_pair",
    .header = "merge/merge_pair.cuh",
    .types = "tile/dtype.h",
    .constants = kPairConstants,
    .valid = [](jit::Values values, cuda::Architecture) { return narrow_enough(values[0], values[1]); },
    .launch_facts = launch_facts};

constexpr jit::Constant kStatesConstants[] = {{"kType", kDtypeType, kFloatDtypes, print_dtype},
                                              {"kOutput", kDtypeType, kFloatDtypes, print_dtype},
                                              {"kVector", "int", kVectors}};
constexpr jit::KernelSource kMergeStates = {
    .name = "merge_states",
    .header = "merge/merge_states.cuh",
    .types = "tile/dtype.h",
    .constants = kStatesConstants,
    .valid =
        [](jit::Values values, cuda::Architecture) {
          const bool possible = values[0] == values[1] || static_cast<Dtype>(values[0]) == Dtype::kF32;
          return possible && narrow_enough(values[0], values[2]);
        },
    .launch_facts = launch_facts};

std::int64_t stride_bytes(const TensorView& view, int axis) {
  return view.strides[static_cast<std::size_t>(axis)] * static_cast<std::int64_t>(size_of(view.dtype));
}

// Axes: of v, and of s, which count tokens and heads.
kernel::StateRows rows_of(const TensorView& v, const TensorView& s, int head_axis) {
  return {.v = v.as<char>(),
          .s = s.as<char>(),
          .v_stride = {stride_bytes(v, 0), stride_bytes(v, head_axis)},
          .s_stride = {stride_bytes(s, 0), stride_bytes(s, head_axis)}};
}

// Rows that can be numbered, together with the vectors of a block's last row, in 31 bits.
std::int64_t rows_of(const char* op_name, std::int64_t tokens, std::int64_t heads, std::int64_t row_vectors) {
  if (tokens != 0 && heads * row_vectors > kMaxRows / tokens)
    fail(ErrorKind::kUnsupported, "{}: {} tokens of {} heads on a GPU, that is too many", op_name, tokens,
         heads);
  return tokens * heads;
}

}  // namespace

void run_merge_pair_cuda(const MergeStateArgs& args, const TensorView& mask, const Launch& launch) {
  const std::int64_t heads = args.v.shape[1], head_dim = args.v.shape[2];
  const int vector = VectorWidth(widest_vector(args.v.dtype))
                         .extent(head_dim)
                         .rows(args.v_a)
                         .rows(args.v_b)
                         .rows(args.v)
                         .elements();
  const std::int64_t row_vectors = std::max<std::int64_t>(1, head_dim / vector);
  const std::int64_t rows = rows_of("merge_state", args.v.shape[0], heads, row_vectors);
  if (rows == 0) return;
  const std::int64_t block_rows = std::max<std::int64_t>(1, kThreads / row_vectors);
  const kernel::MergePairParams params{.a = rows_of(args.v_a, args.s_a, 1),
                                       .b = rows_of(args.v_b, args.s_b, 1),
                                       .out = rows_of(args.v, args.s, 1),
                                       .mask = mask.given() ? mask.as<unsigned char>() : nullptr,
                                       .mask_stride = mask.given() ? mask.strides[0] : 0,
                                       .rows = static_cast<std::uint32_t>(rows),
                                       .heads = divisor(heads),
                                       .row_vectors = divisor(row_vectors),
                                       .head_vectors = static_cast<std::uint32_t>(head_dim / vector),
                                       .block_rows = static_cast<std::uint32_t>(block_rows)};
  launch_kernel(kMergePair, {static_cast<int>(args.v.dtype), vector}, gpu_of(args.v.device),
                ceil_div(rows, block_rows), params, launch);
}

void run_merge_states_cuda(const MergeStatesArgs& args, const Launch& launch) {
  const TensorView &v = args.v, &s = args.s;
  const std::int64_t heads = v.shape[2], head_dim = v.shape[3];
  const int vector =
      VectorWidth(widest_vector(v.dtype)).extent(head_dim).rows(v).rows(args.v_merged).elements();
  const std::int64_t row_vectors = std::max<std::int64_t>(1, head_dim / vector);
  const std::int64_t rows = rows_of("merge_states", v.shape[0], heads, row_vectors);
  if (rows == 0) return;
  const kernel::MergeStatesParams params{.first = rows_of(v, s, 2),
                                         .out = rows_of(args.v_merged, args.s_merged, 1),
                                         .state_v_stride = stride_bytes(v, 1),
                                         .state_s_stride = stride_bytes(s, 1),
                                         .num_states = static_cast<std::int32_t>(v.shape[1]),
                                         .rows = static_cast<std::uint32_t>(rows),
                                         .heads = divisor(heads),
                                         .row_vectors = divisor(row_vectors),
                                         .head_vectors = static_cast<std::uint32_t>(head_dim / vector)};
  launch_kernel(kMergeStates, {static_cast<int>(v.dtype), static_cast<int>(args.v_merged.dtype), vector},
                gpu_of(v.device), ceil_div(rows * row_vectors, kThreads), params, launch);
}

void declare_merge_kernels(jit::KernelRegistry& registry) {
  registry.add(kMergePair);
  registry.add(kMergeStates);
}

}  // namespace strobe::op
