#include "ops/attention_prefill_cuda.h"

#include <algorithm>
#include <iterator>

#include "attention/prefill_form.h"
#include "ops/attention_launch.h"

namespace strobe::op {
namespace {

using kernel::RowForm;

constexpr int kThreads = 128;  // of kernels/attention/prefill.cuh

// Head dimensions of K and of V's part that a block does, rounded up.
struct Tile {
  int qk, vo;
};
constexpr Tile kTiles[] = {{64, 64}, {128, 128}, {192, 128}, {256, 256}, {512, 128}};
constexpr int kMostCopiedFp8Dims = 256;  // beyond, the tiles to convert from do not fit shared memory

Tile tile_of(int head_dim_qk, int head_dim_vo) {
  for (const Tile& tile : kTiles)
    if (head_dim_qk <= tile.qk && (head_dim_vo <= tile.vo || tile.vo == 256)) return tile;
  return kTiles[std::size(kTiles) - 1];
}

constexpr int kTypes[] = {static_cast<int>(Dtype::kF16), static_cast<int>(Dtype::kBf16)};
constexpr int kRowCounts[] = {64, 128}, kQkTiles[] = {64, 128, 192, 256, 512}, kVoTiles[] = {64, 128, 256};
constexpr int kTokenCounts[] = {64, 32, 16};
constexpr int kRowForms[] = {static_cast<int>(RowForm::kCopied), static_cast<int>(RowForm::kChanged),
                             static_cast<int>(RowForm::kLoaded)};

std::string print_row_form(int value) {
  constexpr const char* kNames[] = {"kCopied", "kChanged", "kLoaded"};
  return std::string("strobe::kernel::RowForm::") + kNames[value];
}

enum { kType, kRows, kQk, kVo, kTokens, kFp8, kGeneral, kExactSums, kForm };
constexpr jit::Constant kConstants[] = {{"kType", kDtypeType, kTypes, print_dtype},
                                        {"kTileRows", "int", kRowCounts},
                                        {"kTileQk", "int", kQkTiles},
                                        {"kTileVo", "int", kVoTiles},
                                        {"kTileTokens", "int", kTokenCounts},
                                        {"kFp8", "bool", kBools, print_bool},
                                        {"kGeneral", "bool", kBools, print_bool},
                                        {"kExactSums", "bool", kBools, print_bool},
                                        {"kRowForm", "strobe::kernel::RowForm", kRowForms, print_row_form}};

constexpr int shared_bytes(int rows, const Tile& tile, int tokens, bool fp8, RowForm form) {
  return kernel::prefill_shared_bytes(rows, tile.qk, tile.vo, tokens, fp8, form);
}

constexpr int blocks_that_fit(int dynamic_bytes, int rows, int tokens, cuda::Architecture architecture) {
  constexpr int kBlockBytes = 1024;  // that a resident block costs besides
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  const int bytes = dynamic_bytes + kernel::prefill_static_bytes(rows, tokens);
  return bytes > facts.shared_bytes_per_block ? 0 : facts.shared_bytes_per_sm / (bytes + kBlockBytes);
}

// The longest tile with which as many blocks fit an SM as with the shortest, or as its registers are for; as
// far as registers hold the scores.
constexpr int tile_tokens(int rows, const Tile& tile, bool fp8, bool general, RowForm form,
                          cuda::Architecture architecture) {
  const auto fit = [&](int tokens) {
    return blocks_that_fit(shared_bytes(rows, tile, tokens, fp8, form), rows, tokens, architecture);
  };
  const int wanted = std::min(kernel::prefill_blocks_per_sm(rows, tile.vo), fit(16));
  const bool holds_many = tile.qk <= 64 || (tile.qk <= 128 && architecture == cuda::Architecture::kSm90a);
  const bool holds_few =
      tile.qk > 256 || (tile.qk > 128 && fp8 && general && architecture == cuda::Architecture::kSm120a);
  const int most = holds_few ? 16 : holds_many && !general ? 64 : 32;
  for (int tokens : kTokenCounts)
    if (tokens <= most && fit(tokens) >= wanted) return tokens;
  return 16;
}

// Whether the registers hold 128 rows, and shared memory what changed ones lack. How many registers the code
// takes, more when it converts, depends on the architecture.
constexpr bool takes_many_rows(int tile_qk, bool fp8, bool general, RowForm form,
                               cuda::Architecture architecture) {
  if (form == RowForm::kChanged) return false;
  const bool blackwell =
      architecture == cuda::Architecture::kSm100a || architecture == cuda::Architecture::kSm120a;
  const bool converts_with_ease =
      architecture == cuda::Architecture::kSm80 || architecture == cuda::Architecture::kSm90a;
  if (blackwell || (fp8 && !converts_with_ease)) return tile_qk <= 64;
  return tile_qk <= (general ? 128 : 192);
}

// Whether the registers hold the form that is not general, as the compiler's logs show.
constexpr bool has_plain_form(int tile_qk, bool fp8, cuda::Architecture architecture) {
  return !(tile_qk == 256 && !fp8 && architecture == cuda::Architecture::kSm120a);
}

// The shortest tiles fit everywhere.
static_assert(std::all_of(std::begin(kTiles), std::end(kTiles), [](const Tile& tile) {
  const int rows = tile.qk <= 192 ? 128 : 64;
  return std::all_of(cuda::kArchitectures.begin(), cuda::kArchitectures.end(), [&](const auto& facts) {
    const auto fits = [&](bool fp8, RowForm form) {
      return blocks_that_fit(shared_bytes(rows, tile, 16, fp8, form), rows, 16, facts.architecture) > 0;
    };
    return fits(false, RowForm::kCopied) && fits(true, RowForm::kLoaded) &&
           (tile.qk > kMostCopiedFp8Dims || fits(true, RowForm::kCopied));
  });
}));

// Whether shared memory has room for what changed queries and keys lack.
bool has_room_to_change(const Tile& tile, bool fp8, cuda::Architecture architecture) {
  return blocks_that_fit(shared_bytes(64, tile, 16, fp8, RowForm::kChanged), 64, 16, architecture) > 0;
}

bool valid(jit::Values values, cuda::Architecture architecture) {
  const Tile tile{values[kQk], values[kVo]};
  const bool fp8 = values[kFp8] != 0, general = values[kGeneral] != 0;
  const auto form = static_cast<RowForm>(values[kForm]);
  return std::any_of(std::begin(kTiles), std::end(kTiles),
                     [&](const Tile& it) { return it.qk == tile.qk && it.vo == tile.vo; }) &&
         (values[kRows] == 64 || takes_many_rows(tile.qk, fp8, general, form, architecture)) &&
         (tile.qk <= kMostCopiedFp8Dims || !fp8 || form == RowForm::kLoaded) &&
         (form != RowForm::kChanged || has_room_to_change(tile, fp8, architecture)) &&
         (general || (form == RowForm::kCopied && has_plain_form(tile.qk, fp8, architecture))) &&
         (values[kExactSums] != 0 || !general) &&
         values[kTokens] == tile_tokens(values[kRows], tile, fp8, general, form, architecture);
}

jit::LaunchFacts launch_facts(jit::Values values, cuda::Architecture) {
  return {.threads = kThreads,
          .shared_bytes = shared_bytes(values[kRows], {values[kQk], values[kVo]}, values[kTokens],
                                       values[kFp8] != 0, static_cast<RowForm>(values[kForm]))};
}

constexpr jit::KernelSource kPrefill = {.name = "attention_prefill",
                                        .header = "attention/prefill.cuh",
                                        .types = "attention/prefill_form.h",
                                        .constants = kConstants,
                                        .valid = valid,
                                        .launch_facts = launch_facts};

bool is_fp8(Dtype dtype) { return dtype == Dtype::kE4m3 || dtype == Dtype::kE5m2; }

// Whether rows are chunks of 16 bytes.
bool in_chunks(const AttentionCudaShape& shape, const kernel::AttentionParams& params) {
  const bool whole = (shape.head_dim_qk | shape.head_dim_vo) % 16 == 0;
  return is_aligned(params) &&
         (!is_fp8(shape.kv_dtype) || (whole && shape.head_dim_qk <= kMostCopiedFp8Dims));
}

bool is_general(const AttentionCudaShape& shape) {
  return shape.soft_cap || shape.alibi || shape.rope || shape.mask == MaskMode::kCustom || shape.variant != 0;
}

bool changes_rows(const AttentionCudaShape& shape) { return shape.rope || shape.variant_changes_rows; }

}  // namespace

bool serves_prefill(const AttentionCudaShape& shape, cuda::Architecture architecture) {
  const bool fp8 = is_fp8(shape.kv_dtype);
  const Tile tile = tile_of(shape.head_dim_qk, shape.head_dim_vo);
  return size_of(shape.q_dtype) == 2 && (shape.kv_dtype == shape.q_dtype || fp8) &&
         (!changes_rows(shape) || has_room_to_change(tile, fp8, architecture)) &&
         (shape.variant == 0 || std::max(tile.qk, shape.head_dim_vo) <= kMostVariantDims);
}

// Many where a request has so many, and one kernel for requests of any length where a result must not depend
// on the others'.
int prefill_rows(const AttentionCudaShape& shape, cuda::Architecture architecture) {
  const Tile tile = tile_of(shape.head_dim_qk, shape.head_dim_vo);
  const RowForm form = changes_rows(shape) ? RowForm::kChanged : RowForm::kCopied;
  if (!takes_many_rows(tile.qk, is_fp8(shape.kv_dtype), is_general(shape), form, architecture)) return 64;
  return shape.max_qo_len * shape.group() > 64 || shape.deterministic ? 128 : 64;
}

bool takes_operands(const AttentionCudaShape& shape, const kernel::AttentionParams& params) {
  return !changes_rows(shape) || in_chunks(shape, params);
}

PrefillForm prefill_form(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                         cuda::Architecture architecture) {
  const Tile tile = tile_of(shape.head_dim_qk, shape.head_dim_vo);
  const RowForm form = !in_chunks(shape, params) ? RowForm::kLoaded
                       : changes_rows(shape)     ? RowForm::kChanged
                                                 : RowForm::kCopied;
  const bool fp8 = is_fp8(shape.kv_dtype);
  // Maxima of products are those of the logits only under a positive scale.
  const bool general = is_general(shape) || form != RowForm::kCopied || !(params.scale > 0) ||
                       !has_plain_form(tile.qk, fp8, architecture);
  const int rows =
      takes_many_rows(tile.qk, fp8, general, form, architecture) ? prefill_rows(shape, architecture) : 64;
  return {.values = {static_cast<int>(shape.q_dtype), rows, tile.qk, tile.vo,
                     tile_tokens(rows, tile, fp8, general, form, architecture), fp8, general,
                     general || params.lse != nullptr || params.partial_rows > 0, static_cast<int>(form)},
          .parts = static_cast<int>(ceil_div(shape.head_dim_vo, tile.vo))};
}

jit::KernelSource prefill_variant_source() {
  jit::KernelSource source = kPrefill;
  source.valid = [](jit::Values values, cuda::Architecture architecture) {
    return values[kQk] <= kMostVariantDims && values[kGeneral] != 0 && valid(values, architecture);
  };
  source.name = "attention_variant_tiles";
  source.header = "attention/prefill_variant.cuh";
  return source;
}

void launch_prefill(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                    std::int64_t items, const Gpu& gpu, const Launch& launch) {
  const PrefillForm form = prefill_form(shape, params, gpu.architecture);
  launch_grid(kPrefill, form.values,
              {.x = static_cast<std::uint32_t>(items),
               .y = static_cast<std::uint32_t>(shape.num_kv_heads),
               .z = static_cast<std::uint32_t>(form.parts)},
              params, gpu, launch);
}

void declare_attention_prefill_kernels(jit::KernelRegistry& registry) { registry.add(kPrefill); }

}  // namespace strobe::op
