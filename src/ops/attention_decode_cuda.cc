#include "ops/attention_decode_cuda.h"

#include <algorithm>
#include <string>
#include <utility>

namespace strobe::op {
namespace {

// The constants of kernels/attention/decode.cuh, in the order of its source.
enum {
  kQuery,
  kKv,
  kDimQk,
  kDimVo,
  kHeadTiles,
  kHeads,
  kRowPages,
  kGeneral,
  kWarps,
  kStages,
  kTileRows,
  kConstantCount
};

constexpr int kQueryTypes[] = {static_cast<int>(Dtype::kF16), static_cast<int>(Dtype::kBf16)};
constexpr int kKvTypes[] = {static_cast<int>(Dtype::kF16), static_cast<int>(Dtype::kBf16),
                            static_cast<int>(Dtype::kE4m3), static_cast<int>(Dtype::kE5m2)};
constexpr int kHeadDims[] = {64, 96, 128, 192, 256, 512};
constexpr int kHeadTileCounts[] = {1, 2};
constexpr int kHeadCounts[] = {1, 2, 4, 8};
constexpr int kWarpCounts[] = {4, 8};
constexpr int kStageCounts[] = {1, 2, 3, 4};
constexpr int kTileRowCounts[] = {16, 32};

constexpr jit::Constant kConstants[] = {
    {"kQuery", kDtypeType, kQueryTypes, print_dtype},
    {"kKv", kDtypeType, kKvTypes, print_dtype},
    {"kDimQk", "int", kHeadDims},
    {"kDimVo", "int", kHeadDims},
    {"kHeadTiles", "int", kHeadTileCounts},
    {"kHeads", "int", kHeadCounts},
    {"kRowPages", "bool", kBools, print_bool},
    {"kGeneral", "bool", kBools, print_bool},
    {"kWarps", "int", kWarpCounts},
    {"kStages", "int", kStageCounts},
    {"kTileRows", "int", kTileRowCounts},
};
static_assert(std::size(kConstants) == kConstantCount);

constexpr int kRowsOfTile = 8;  // query rows of a head tile
constexpr int kLeastTileRows = 16;
constexpr int kWarpThreads = 32;
// Little's law asks for 27 to 36 KiB under way on an SM of an H200; twice the ring's slack is free, more
// costs 1-2 % (see kernels/attention/decode.cuh).
constexpr int kRingBytes = 128 * cuda::kKiB;
constexpr int kSmallestSlot = 4 * cuda::kKiB;  // smaller tiles cost more in what is done once a tile

bool is_served(int dim_qk, int dim_vo) {
  const auto listed = [](int dim) { return std::ranges::find(kHeadDims, dim) != std::end(kHeadDims); };
  return listed(dim_qk) && (dim_vo == dim_qk || (dim_qk == 192 && dim_vo == 128));
}

bool is_served(Dtype q, Dtype kv) {
  const bool half = q == Dtype::kF16 || q == Dtype::kBf16;
  return half && (kv == q || kv == Dtype::kE4m3 || kv == Dtype::kE5m2);
}

// Beside the output of so large heads the registers hold neither masks nor conversions.
bool is_plain_only(int head_dim) { return head_dim > 256; }

// Whether a thread's registers hold all of it, as the compiler's logs show (cuda_compile_test): the output of
// so large heads leaves no room to look up a page for each row, and on sm_100 not even that.
bool fits_registers(int dim_vo, bool row_pages, cuda::Architecture architecture) {
  return dim_vo <= 256 || (!row_pages && architecture != cuda::Architecture::kSm100a);
}

// The output of so many rows has to stay in a warp's registers.
int most_head_tiles(int head_dim) { return head_dim <= 128 ? 2 : 1; }

int head_tiles(int rows) { return (rows + kRowsOfTile - 1) / kRowsOfTile; }

// Queries that do not fit the registers (decode_query.cuh).
int query_bytes(const DecodeTilingShape& shape, int warps) {
  const int words = shape.head_tiles * shape.head_dim_qk / 8;
  const bool in_registers = words <= 32 && !(shape.general && shape.head_dim_qk > 192);
  return in_registers ? 0 : warps * words * kWarpThreads * 4;
}

// More than scaled products of one query token with all of KV.
bool is_general(const AttentionCudaShape& shape, int qo_len) {
  return shape.soft_cap || shape.alibi || shape.window_left >= 0 || shape.mask == MaskMode::kCustom ||
         (shape.mask == MaskMode::kCausal && qo_len > 1);
}

// Of the warps, and of a cut row (decode_merge.cuh).
int result_bytes(int warps) {
  constexpr int kAlignment = 16;
  return warps * (kRowsOfTile * 2 * 4 + 8) + static_cast<int>(sizeof(kernel::AttentionMerge)) + kAlignment;
}

DecodeTilingShape tiling_shape(jit::Values values) {
  return {.kv_bytes = static_cast<int>(size_of(static_cast<Dtype>(values[kKv]))),
          .head_dim_qk = values[kDimQk],
          .head_dim_vo = values[kDimVo],
          .head_tiles = values[kHeadTiles],
          .general = values[kGeneral] != 0,
          .long_tiles = values[kRowPages] == 0 && values[kTileRows] == 32};
}

bool valid(jit::Values values, cuda::Architecture architecture) {
  if (!is_served(values[kDimQk], values[kDimVo])) return false;
  if (!is_served(static_cast<Dtype>(values[kQuery]), static_cast<Dtype>(values[kKv]))) return false;
  if (values[kHeadTiles] > most_head_tiles(values[kDimQk])) return false;
  if (is_plain_only(values[kDimQk]) && (values[kGeneral] != 0 || values[kKv] != values[kQuery])) return false;
  if (!fits_registers(values[kDimVo], values[kRowPages] != 0, architecture)) return false;
  const DecodeTiling tiling = choose_decode_tiling(tiling_shape(values), architecture);
  return tiling.warps == values[kWarps] && tiling.stages == values[kStages] &&
         tiling.tile_rows == values[kTileRows] && values[kHeads] <= tiling.warps;
}

jit::LaunchFacts launch_facts(jit::Values values, cuda::Architecture architecture) {
  const DecodeTiling tiling = choose_decode_tiling(tiling_shape(values), architecture);
  return {.threads = tiling.warps * kWarpThreads, .shared_bytes = tiling.shared_bytes};
}

constexpr jit::KernelSource kDecode = {.name = "attention_decode",
                                       .header = "attention/decode.cuh",
                                       .types = "tile/dtype.h",
                                       .constants = kConstants,
                                       .valid = valid,
                                       .launch_facts = launch_facts};

plan::DecodeListOptions list_options(const AttentionCudaShape& shape, int heads_together, int blocks) {
  return {.num_kv_heads = shape.num_kv_heads,
          .group_size = shape.group(),
          .heads_together = heads_together,
          .blocks = blocks,
          .window_left = shape.window_left,
          .deterministic = shape.deterministic};
}

int most_heads(int kv_heads, int most) {
  int heads = 1;
  while (heads < most && kv_heads % (2 * heads) == 0) heads *= 2;
  return heads;
}

// Where lengths may not be looked at: as many heads together as leave a row for every SM.
int heads_together_for_shape(const AttentionCudaShape& shape, int sm_count) {
  if (shape.deterministic) return most_heads(shape.num_kv_heads, 2);
  int heads = 8;
  while (heads > 1 && (shape.num_kv_heads % heads != 0 ||
                       shape.max_batch_size * (shape.num_kv_heads / heads) < sm_count * 9 / 10))
    heads /= 2;
  return heads;
}

std::int32_t rows_of(const DecodeChoice& choice, const AttentionCudaShape& shape) {
  return shape.max_batch_size * (shape.num_kv_heads / choice.heads_together);
}

}  // namespace

DecodeTiling choose_decode_tiling(const DecodeTilingShape& shape, cuda::Architecture architecture) {
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  const int row_bytes = (shape.head_dim_qk + shape.head_dim_vo) * shape.kv_bytes;
  for (const int warps : {8, 4}) {
    DecodeTiling tiling{.warps = warps, .stages = 0, .tile_rows = kLeastTileRows, .shared_bytes = 0};
    // The scores of more rows would not stay in registers beside the output.
    const bool long_tiles = shape.long_tiles && shape.head_tiles == 1;
    if (long_tiles && tiling.tile_rows * row_bytes <= kSmallestSlot) tiling.tile_rows = 32;
    const int stage_bytes = warps * tiling.tile_rows * row_bytes;
    const int other_bytes = query_bytes(shape, warps) + result_bytes(warps);
    const int most_stages = (facts.shared_bytes_per_block - other_bytes) / stage_bytes;
    tiling.stages = std::min({std::max(1, kRingBytes / stage_bytes), most_stages, 4});
    if (tiling.stages < 1) continue;
    // With room for a second block the next grid's would crowd together on the SMs that end first.
    tiling.shared_bytes = std::max(tiling.stages * stage_bytes + other_bytes, facts.shared_bytes_per_sm / 2);
    return tiling;
  }
  return {};
}

bool serves_decode(const AttentionCudaShape& shape, int qo_len, cuda::Architecture architecture) {
  if (!is_served(shape.head_dim_qk, shape.head_dim_vo) || !is_served(shape.q_dtype, shape.kv_dtype))
    return false;
  const std::int64_t rows = std::int64_t{qo_len} * shape.group();
  if (shape.rope || rows > most_head_tiles(shape.head_dim_qk) * kRowsOfTile) return false;
  const bool converts = shape.kv_dtype != shape.q_dtype, general = is_general(shape, qo_len);
  if (is_plain_only(shape.head_dim_qk) && (converts || general)) return false;
  if (!fits_registers(shape.head_dim_vo, shape.page_size % kLeastTileRows != 0, architecture)) return false;
  const DecodeTilingShape tiling{.kv_bytes = static_cast<int>(size_of(shape.kv_dtype)),
                                 .head_dim_qk = shape.head_dim_qk,
                                 .head_dim_vo = shape.head_dim_vo,
                                 .head_tiles = head_tiles(static_cast<int>(rows)),
                                 .general = true,
                                 .long_tiles = false};
  return choose_decode_tiling(tiling, architecture).warps > 0;
}

std::string decode_head_dims(cuda::Architecture architecture) {
  std::string dims;
  for (const int dim : kHeadDims) {
    const AttentionCudaShape shape{.q_dtype = Dtype::kBf16,
                                   .kv_dtype = Dtype::kBf16,
                                   .num_qo_heads = 1,
                                   .num_kv_heads = 1,
                                   .head_dim_qk = dim,
                                   .head_dim_vo = dim,
                                   .mask = MaskMode::kNone,
                                   .window_left = -1};
    if (serves_decode(shape, 1, architecture)) dims += (dims.empty() ? "" : ", ") + std::to_string(dim);
  }
  return dims;
}

DecodeChoice choose_decode(const AttentionCudaShape& shape, std::span<const plan::AttentionRequest> requests,
                           const Gpu& gpu) {
  int qo_len = shape.fixed ? shape.max_qo_len : 1;
  // Requests of more query tokens go to the generic kernel.
  while (qo_len > 1 && !serves_decode(shape, qo_len, gpu.architecture)) --qo_len;
  if (!shape.fixed)
    for (const plan::AttentionRequest& request : requests) qo_len = std::max(qo_len, request.qo_len);
  DecodeChoice choice;
  if (!serves_decode(shape, qo_len, gpu.architecture)) return choice;
  const auto in_page = [&](int rows) { return shape.page_size % rows == 0; };
  const DecodeTilingShape tiling_shape{.kv_bytes = static_cast<int>(size_of(shape.kv_dtype)),
                                       .head_dim_qk = shape.head_dim_qk,
                                       .head_dim_vo = shape.head_dim_vo,
                                       .head_tiles = head_tiles(qo_len * shape.group()),
                                       .general = is_general(shape, qo_len),
                                       .long_tiles = in_page(32)};
  const DecodeTiling tiling = choose_decode_tiling(tiling_shape, gpu.architecture);
  choice.suited = true;
  choice.blocks = gpu.sm_count;
  const plan::DecodeListOptions options = list_options(shape, 1, choice.blocks);
  choice.heads_together = shape.fixed || shape.deterministic ? heads_together_for_shape(shape, gpu.sm_count)
                                                             : plan::choose_heads_together(requests, options);
  choice.heads_together = std::min(choice.heads_together, tiling.warps);
  choice.values = {static_cast<int>(shape.q_dtype),
                   static_cast<int>(shape.kv_dtype),
                   shape.head_dim_qk,
                   shape.head_dim_vo,
                   tiling_shape.head_tiles,
                   choice.heads_together,
                   !in_page(tiling.tile_rows),
                   tiling_shape.general,
                   tiling.warps,
                   tiling.stages,
                   tiling.tile_rows};
  return choice;
}

void plan_decode(const DecodeChoice& choice, const AttentionCudaShape& shape,
                 std::span<const plan::AttentionRequest> requests, plan::DeviceWorkList& list) {
  plan::make_decode_list(requests, decode_list_options(choice, shape), list);
}

kernel::DecodeListOptions decode_list_options(const DecodeChoice& choice, const AttentionCudaShape& shape) {
  return list_options(shape, choice.heads_together, choice.blocks);
}

// A cut row has two pieces on a block's border, or one on each of its blocks.
std::int32_t most_slots(const DecodeChoice& choice, const AttentionCudaShape& shape) {
  const std::int32_t pieces =
      shape.deterministic ? rows_of(choice, shape) * plan::kMostDecodeParts : 2 * choice.blocks;
  return pieces * choice.heads_together;
}

std::int32_t most_items(const DecodeChoice& choice, const AttentionCudaShape& shape) {
  return choice.blocks + rows_of(choice, shape) * (shape.deterministic ? plan::kMostDecodeParts : 1) +
         choice.blocks;
}

std::int32_t most_merges(const DecodeChoice& choice, const AttentionCudaShape& shape) {
  return std::min(rows_of(choice, shape) * choice.heads_together, most_slots(choice, shape) / 2);
}

void launch_decode(const DecodeChoice& choice, const kernel::AttentionParams& params, const Gpu& gpu,
                   const Launch& launch) {
  const auto whole = [](std::int64_t bytes, std::initializer_list<std::int64_t> numbers) {
    return std::ranges::all_of(numbers, [&](std::int64_t number) { return number % bytes == 0; });
  };
  const auto address = [](const char* data) {
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data));
  };
  if (!whole(16, {address(params.k), params.k_stride_page, params.k_stride_token, params.k_stride_head,
                  address(params.v), params.v_stride_page, params.v_stride_token, params.v_stride_head}))
    fail(ErrorKind::kUnsupported,
         "attention: the decode kernel takes rows of k and v that begin at multiples of 16 bytes");
  if (!whole(4, {address(params.q), params.q_stride_token, params.q_stride_head}))
    fail(ErrorKind::kUnsupported,
         "attention: the decode kernel takes rows of q that begin at multiples of 4 bytes");
  const cuda::Kernel& kernel = jit::get(kDecode, choice.values, gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = {.x = static_cast<std::uint32_t>(choice.blocks)},
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               params);
}

void declare_attention_decode_kernels(jit::KernelRegistry& registry) { registry.add(kDecode); }

}  // namespace strobe::op
