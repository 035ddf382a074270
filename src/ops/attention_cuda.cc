#include "ops/attention_cuda.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>

#include "attention/prefill_form.h"
#include "ops/attention_f32_form.h"

namespace strobe::op {
namespace {

constexpr jit::KernelSource kF32 = {.name = "attention_f32",
                                    .header = "attention/attention_f32.cuh",
                                    .launch_facts = [](jit::Values, cuda::Architecture) {
                                      return jit::LaunchFacts{
                                          .threads = kF32Threads,
                                          .shared_bytes = f32_shared_bytes(kMostHeadDim, kMostHeadDim)};
                                    }};

constexpr int kMergeThreads = 128;  // of kernels/attention/merge.cuh
constexpr jit::KernelSource kMerge = {.name = "attention_merge",
                                      .header = "attention/merge.cuh",
                                      .launch_facts = [](jit::Values, cuda::Architecture) {
                                        return jit::LaunchFacts{.threads = kMergeThreads};
                                      }};

// Of kernels/attention/prefill.cuh.
constexpr int kThreads = 128;
constexpr int kTypes[] = {static_cast<int>(Dtype::kF16), static_cast<int>(Dtype::kBf16)};
constexpr int kRowCounts[] = {64, 128}, kQkTiles[] = {64, 128, 192, 256, 512}, kVoTiles[] = {64, 128, 256};
enum { kType, kRows, kQk, kVo, kFp8, kGeneral };
constexpr jit::Constant kConstants[] = {{"kType", kDtypeType, kTypes, print_dtype},
                                        {"kTileRows", "int", kRowCounts},
                                        {"kTileQk", "int", kQkTiles},
                                        {"kTileVo", "int", kVoTiles},
                                        {"kFp8", "bool", kBools, print_bool},
                                        {"kGeneral", "bool", kBools, print_bool}};

// Head dimensions of K and of V's part that a block does, rounded up.
struct Tile {
  int qk, vo;
};
constexpr Tile kTiles[] = {{64, 64}, {128, 128}, {192, 128}, {256, 256}, {512, 128}};

constexpr int kMostFp8Dims = 256;  // beyond, the tiles do not fit the shared memory of every architecture

Tile tile_of(int head_dim_qk, int head_dim_vo) {
  for (const Tile& tile : kTiles)
    if (head_dim_qk <= tile.qk && (head_dim_vo <= tile.vo || tile.vo == kVoTiles[2])) return tile;
  return kTiles[std::size(kTiles) - 1];
}

// Whether the registers hold 128 rows; converting takes more of them, and how many depends on the
// architecture.
constexpr bool takes_many_rows(int tile_qk, bool fp8, bool general, cuda::Architecture architecture) {
  const bool converts_with_ease =
      architecture == cuda::Architecture::kSm80 || architecture == cuda::Architecture::kSm90a;
  if (fp8 && !converts_with_ease) return tile_qk <= 64;
  return tile_qk <= (general ? 128 : 192);
}

constexpr bool fits_every_architecture(int rows, const Tile& tile, bool fp8) {
  return std::all_of(cuda::kArchitectures.begin(), cuda::kArchitectures.end(), [&](const auto& facts) {
    return kernel::prefill_shared_bytes(rows, tile.qk, tile.vo, fp8, false) +
               kernel::prefill_static_bytes(tile.qk, false) <=
           facts.shared_bytes_per_block;
  });
}
static_assert(std::all_of(std::begin(kTiles), std::end(kTiles), [](const Tile& tile) {
  const int rows = tile.qk <= 192 ? 128 : 64;
  return fits_every_architecture(rows, tile, false) &&
         (tile.qk > kMostFp8Dims || fits_every_architecture(rows, tile, true));
}));

bool valid(jit::Values values, cuda::Architecture architecture) {
  const bool tile = std::any_of(std::begin(kTiles), std::end(kTiles),
                                [&](const Tile& it) { return it.qk == values[kQk] && it.vo == values[kVo]; });
  return tile &&
         (values[kRows] == 64 ||
          takes_many_rows(values[kQk], values[kFp8] != 0, values[kGeneral] != 0, architecture)) &&
         (values[kQk] <= kMostFp8Dims || !values[kFp8]);
}

jit::LaunchFacts launch_facts(jit::Values values, cuda::Architecture) {
  return {.threads = kThreads,
          .shared_bytes = kernel::prefill_shared_bytes(values[kRows], values[kQk], values[kVo],
                                                       values[kFp8] != 0, values[kGeneral] != 0)};
}

constexpr jit::KernelSource kPrefill = {.name = "attention_prefill",
                                        .header = "attention/prefill.cuh",
                                        .types = "attention/prefill_form.h",
                                        .constants = kConstants,
                                        .valid = valid,
                                        .launch_facts = launch_facts};

// Whether 16-byte copies of q, k and v and stores of pairs to out are possible.
bool is_aligned(const kernel::AttentionParams& params) {
  const auto all = [](std::int64_t unit, std::initializer_list<std::int64_t> numbers) {
    return std::all_of(numbers.begin(), numbers.end(), [&](std::int64_t x) { return x % unit == 0; });
  };
  const auto address = [](const void* p) {
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(p));
  };
  return all(16, {address(params.q), params.q_stride_token, params.q_stride_head, address(params.k),
                  params.k_stride_page, params.k_stride_token, params.k_stride_head, address(params.v),
                  params.v_stride_page, params.v_stride_token, params.v_stride_head}) &&
         all(params.out_dtype == static_cast<int>(Dtype::kF32) ? 8 : 4,
             {address(params.out), params.out_stride_token, params.out_stride_head});
}

bool is_fp8(Dtype dtype) { return dtype == Dtype::kE4m3 || dtype == Dtype::kE5m2; }

bool on_tensor_cores(const AttentionCudaShape& shape) {
  const auto converts = [&] {
    return is_fp8(shape.kv_dtype) && shape.head_dim_qk % 16 == 0 && shape.head_dim_vo % 16 == 0 &&
           shape.head_dim_qk <= kMostFp8Dims;
  };
  return shape.variant == 0 && shape.q_dtype != Dtype::kF32 &&
         (shape.kv_dtype == shape.q_dtype || converts()) && !shape.rope;
}

bool is_general(const AttentionCudaShape& shape) {
  return shape.soft_cap || shape.alibi || shape.mask == MaskMode::kCustom;
}

// Rows of the tensor-core kernel's tile: many where a request has so many, and one kernel for requests of any
// length where a result must not depend on the others'.
int tile_rows(const AttentionCudaShape& shape, cuda::Architecture architecture) {
  const Tile tile = tile_of(shape.head_dim_qk, shape.head_dim_vo);
  if (!takes_many_rows(tile.qk, is_fp8(shape.kv_dtype), is_general(shape), architecture)) return 64;
  return shape.max_qo_len * shape.group() > 64 || shape.deterministic ? 128 : 64;
}

void launch_grid(const jit::KernelSource& source, jit::Values values, const cuda::Dim3& grid,
                 int shared_bytes, const kernel::AttentionParams& params, const Gpu& gpu,
                 const Launch& launch) {
  const cuda::Kernel& kernel = jit::get(source, values, gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = grid,
                .shared_bytes = shared_bytes,
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               params);
}

}  // namespace

plan::WorkListOptions list_options(const AttentionCudaShape& shape, const Gpu& gpu) {
  const bool tensor_cores = on_tensor_cores(shape);
  const int blocks_per_sm = tensor_cores ? 2 : 4;
  return {.num_kv_heads = shape.num_kv_heads,
          .group_size = shape.group(),
          .workers = gpu.sm_count * blocks_per_sm,
          .causal = shape.mask == MaskMode::kCausal,
          .window_left = shape.window_left,
          .deterministic = shape.deterministic,
          .item_rows = tensor_cores ? tile_rows(shape, gpu.architecture) : kF32Rows,
          .heads_together = 1,
          .items_per_worker = 1,
          .many_rows_shares = 2};
}

void launch_attention(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                      std::int64_t items, const Gpu& gpu, const Launch& launch) {
  const auto x = static_cast<std::uint32_t>(items), y = static_cast<std::uint32_t>(shape.num_kv_heads);
  // Maxima of products are those of the logits only under a positive scale.
  if (!on_tensor_cores(shape) || !is_aligned(params) || !(params.scale > 0))
    return launch_grid(kF32, {}, {.x = x, .y = y}, f32_shared_bytes(shape.head_dim_qk, shape.head_dim_vo),
                       params, gpu, launch);
  const Tile tile = tile_of(shape.head_dim_qk, shape.head_dim_vo);
  const int values[] = {static_cast<int>(shape.q_dtype),
                        tile_rows(shape, gpu.architecture),
                        tile.qk,
                        tile.vo,
                        is_fp8(shape.kv_dtype),
                        is_general(shape)};
  launch_grid(kPrefill, values,
              {.x = x, .y = y, .z = static_cast<std::uint32_t>(ceil_div(shape.head_dim_vo, tile.vo))}, -1,
              params, gpu, launch);
}

void launch_attention(const AttentionCudaShape& shape, const DecodeChoice& decode,
                      const kernel::AttentionParams& params, std::int64_t merges, const Gpu& gpu,
                      const Launch& launch) {
  if (is_aligned(params)) return launch_decode(decode, params, gpu, launch);
  launch_grid(kF32, {}, {.x = static_cast<std::uint32_t>(decode.blocks)},
              f32_shared_bytes(shape.head_dim_qk, shape.head_dim_vo), params, gpu, launch);
  launch_attention_merge(params, merges, 1, gpu, launch);
}

void launch_attention_merge(const kernel::AttentionParams& params, std::int64_t merges, int heads,
                            const Gpu& gpu, const Launch& launch) {
  if (merges == 0) return;
  launch_grid(kMerge, {},
              {.x = static_cast<std::uint32_t>(merges),
               .y = static_cast<std::uint32_t>(heads),
               .z = static_cast<std::uint32_t>(params.partial_rows)},
              -1, params, gpu, launch);
}

void declare_attention_kernels(jit::KernelRegistry& registry) {
  registry.add(kPrefill);
  registry.add(kF32);
  registry.add(kMerge);
}

}  // namespace strobe::op
