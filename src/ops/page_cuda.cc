#include "ops/page_cuda.h"

#include <algorithm>

#include "ops/cuda_rows.h"
#include "page/page_params.h"

namespace strobe::op {
namespace {

constexpr int kThreads = 256;  // of kernels/page/append.cuh
constexpr int kIndexThreads = 128;

// Rows that are copied are bytes, whatever their dtype.
constexpr int kInputs[] = {static_cast<int>(Dtype::kU8), static_cast<int>(Dtype::kF32),
                           static_cast<int>(Dtype::kF16), static_cast<int>(Dtype::kBf16)};
constexpr int kOutputs[] = {static_cast<int>(Dtype::kU8), static_cast<int>(Dtype::kE4m3),
                            static_cast<int>(Dtype::kE5m2)};
constexpr int kVectors[] = {1, 2, 4, 8, 16};
constexpr jit::Constant kConstants[] = {
    {"kInput", kDtypeType, kInputs, print_dtype},
    {"kOutput", kDtypeType, kOutputs, print_dtype},
    {"kVector", "int", kVectors},
    {"kPair", "bool", kBools, print_bool},
};

bool valid(jit::Values values, cuda::Architecture) {
  const auto input = static_cast<Dtype>(values[0]);
  const bool copies = input == Dtype::kU8;
  return copies == (static_cast<Dtype>(values[1]) == Dtype::kU8) && values[2] <= widest_vector(input);
}

template <int kCount>
jit::LaunchFacts threads(jit::Values, cuda::Architecture) {
  return {.threads = kCount};
}

constexpr jit::KernelSource kAppend = {.name = "append",
                                       .header = "page/append.cuh",
                                       .types = "tile/dtype.h",
                                       .constants = kConstants,
                                       .valid = valid,
                                       .launch_facts = threads<kThreads>};
constexpr jit::KernelSource kPositions = {
    .name = "positions", .header = "page/positions.cuh", .launch_facts = threads<kIndexThreads>};
constexpr jit::KernelSource kSeqLens = {
    .name = "seq_lens", .header = "page/seq_lens.cuh", .launch_facts = threads<kIndexThreads>};

bool converts(const AppendCudaRows& rows) { return rows.tokens.dtype != rows.cache.dtype; }

// The rows of one cache in elements of the kernel's dtypes; two heads that lie side by side on both sides are
// one row.
struct Extents {
  std::int64_t heads, dim;
  std::int64_t in_head_stride, head_stride;  // elements
};
Extents extents_of(const AppendCudaRows& rows) {
  const TensorView& tokens = rows.tokens;
  if (tokens.rank == 2) return {1, tokens.shape[1], 0, 0};
  const std::size_t head_axis = rows.slot_axis == 1 ? 2 : 1;
  Extents extents{tokens.shape[1], tokens.shape[2], tokens.strides[1], rows.cache.strides[head_axis]};
  if (extents.in_head_stride == extents.dim && extents.head_stride == extents.dim) {
    extents.dim *= extents.heads;
    extents.heads = 1;
  }
  return extents;
}

std::int64_t bytes_of(Dtype dtype) { return static_cast<std::int64_t>(size_of(dtype)); }

// Narrows `width` to what the rows allow; `width` counts bytes when rows are copied.
void narrow(VectorWidth& width, const AppendCudaRows& rows) {
  const Extents extents = extents_of(rows);
  const std::int64_t unit = converts(rows) ? 1 : bytes_of(rows.tokens.dtype);
  width.extent(extents.dim * unit);
  for (const TensorView* view : {&rows.tokens, &rows.cache}) {
    TensorView in_units = *view;
    if (!converts(rows)) {
      in_units.dtype = Dtype::kU8;
      for (std::int64_t& stride : in_units.strides) stride *= unit;
    }
    width.rows(in_units);
  }
}

std::int64_t vectors_of(const AppendCudaRows& rows, int vector) {
  const Extents extents = extents_of(rows);
  return extents.heads * extents.dim * (converts(rows) ? 1 : bytes_of(rows.tokens.dtype)) / vector;
}

kernel::AppendRows rows_of(const AppendCudaRows& rows, int vector, std::int64_t token_threads) {
  const Extents extents = extents_of(rows);
  const std::int64_t in_bytes = bytes_of(rows.tokens.dtype), out_bytes = bytes_of(rows.cache.dtype);
  const std::int64_t unit = converts(rows) ? 1 : in_bytes;
  return {.in = rows.tokens.as<char>(),
          .out = rows.cache.as<char>(),
          .in_token_stride = rows.tokens.strides[0] * in_bytes,
          .in_head_stride = extents.in_head_stride * in_bytes,
          .page_stride = rows.cache.strides[0] * out_bytes,
          .slot_stride = rows.cache.strides[static_cast<std::size_t>(rows.slot_axis)] * out_bytes,
          .head_stride = extents.head_stride * out_bytes,
          .factor = 1 / rows.scale,
          .row_vectors = divisor(std::max<std::int64_t>(1, extents.dim * unit / vector)),
          .vectors = static_cast<std::uint32_t>(vectors_of(rows, vector)),
          .threads = divisor(token_threads)};
}

const std::int32_t* indices(const TensorView& view) { return view.as<const std::int32_t>(); }

}  // namespace

AppendChoice choose_append(std::int64_t tokens, const std::array<std::int64_t, 2>& token_vectors,
                           int sm_count) {
  constexpr int kThreadsThatFillAnSm = 2048;
  const auto [first, second] = token_vectors;
  const auto blocks_of = [&](std::int64_t vectors) { return ceil_div(tokens * vectors, kThreads); };
  AppendChoice choice;
  choice.pair = tokens * (first + second) >= 2LL * sm_count * kThreadsThatFillAnSm;
  choice.token_threads = {first, second};
  if (choice.pair) choice.token_threads.fill(std::max(first, second));
  choice.first_blocks = blocks_of(choice.token_threads[0]);
  choice.blocks = choice.first_blocks + (choice.pair ? 0 : blocks_of(choice.token_threads[1]));
  return choice;
}

void run_append_cuda(const AppendCudaRows& a, const AppendCudaRows& b, const ops::Places& places,
                     const Axes& axes, const Launch& launch) {
  const std::int64_t tokens = axes[ops::kNnz];
  if (tokens == 0) return;
  const Gpu gpu = gpu_of(a.tokens.device);
  const Dtype input = converts(a) ? a.tokens.dtype : Dtype::kU8;
  const Dtype output = converts(a) ? a.cache.dtype : Dtype::kU8;
  VectorWidth width(widest_vector(input));
  narrow(width, a);
  narrow(width, b);
  const int vector = width.elements();
  const std::array vectors = {vectors_of(a, vector), vectors_of(b, vector)};
  const std::int64_t most_vectors = std::max(vectors[0], vectors[1]);
  if (most_vectors == 0) return;
  if (most_vectors > kMaxRows / 2 / tokens)
    fail(ErrorKind::kUnsupported, "append: {} tokens of {} elements on a GPU, that is too many", tokens,
         most_vectors * vector);
  const AppendChoice choice = choose_append(tokens, vectors, gpu.sm_count);
  const kernel::AppendParams params{
      .rows = {rows_of(a, vector, choice.token_threads[0]), rows_of(b, vector, choice.token_threads[1])},
      .batch_indices = indices(places.batch_indices),
      .positions = indices(places.positions),
      .kv_indices = indices(places.kv_indices),
      .kv_indptr = indices(places.kv_indptr),
      .tokens = static_cast<std::uint32_t>(tokens),
      .batch_size = static_cast<std::int32_t>(axes[ops::kBatchSize]),
      .num_pages = static_cast<std::int32_t>(std::min(axes[ops::kNumPages], kMaxRows)),
      .num_kv_indices = static_cast<std::int32_t>(std::min(axes[ops::kNumKvIndices], kMaxRows)),
      .page_size = divisor(axes[ops::kPageSize]),
      .first_blocks = static_cast<std::uint32_t>(choice.first_blocks)};
  launch_kernel(kAppend, {static_cast<int>(input), static_cast<int>(output), vector, choice.pair}, gpu,
                choice.blocks, params, launch);
}

void run_positions_cuda(const BatchIndicesPositionsArgs& args, const Launch& launch) {
  const std::int64_t tokens = args.batch_indices.shape[0];
  if (tokens == 0) return;
  const kernel::PositionsParams params{.append_indptr = indices(args.append_indptr),
                                       .seq_lens = indices(args.seq_lens),
                                       .batch_indices = args.batch_indices.as<std::int32_t>(),
                                       .positions = args.positions.as<std::int32_t>(),
                                       .batch_size = static_cast<std::int32_t>(args.seq_lens.shape[0]),
                                       .tokens = static_cast<std::int32_t>(tokens)};
  launch_kernel(kPositions, {}, gpu_of(args.batch_indices.device), ceil_div(tokens, kIndexThreads), params,
                launch);
}

void run_seq_lens_cuda(const SeqLensArgs& args, const Launch& launch) {
  const std::int64_t batch_size = args.seq_lens.shape[0];
  if (batch_size == 0) return;
  const kernel::SeqLensParams params{.kv_indptr = indices(args.kv_indptr),
                                     .kv_last_page_len = indices(args.kv_last_page_len),
                                     .seq_lens = args.seq_lens.as<std::int32_t>(),
                                     .batch_size = static_cast<std::int32_t>(batch_size),
                                     .page_size = args.page_size};
  launch_kernel(kSeqLens, {}, gpu_of(args.seq_lens.device), ceil_div(batch_size, kIndexThreads), params,
                launch);
}

void declare_page_kernels(jit::KernelRegistry& registry) {
  registry.add(kAppend);
  registry.add(kPositions);
  registry.add(kSeqLens);
}

}  // namespace strobe::op
