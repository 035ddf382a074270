#include "ops/attention_sm90_cuda.h"

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <iterator>
#include <numeric>

#include "attention/sm90/form.h"
#include "cuda/tensor_map.h"
#include "plan/cache_order.h"

namespace strobe::op {
namespace {

constexpr int kTypes[] = {static_cast<int>(Dtype::kF16), static_cast<int>(Dtype::kBf16),
                          static_cast<int>(Dtype::kE4m3)};
constexpr int kHeadDims[] = {64, 96, 128, 192, 256};
enum { kType, kDimQk, kDimVo, kPaged };
constexpr jit::Constant kConstants[] = {{"kType", kDtypeType, kTypes, print_dtype},
                                        {"kDimQk", "int", kHeadDims},
                                        {"kDimVo", "int", kHeadDims},
                                        {"kPaged", "bool", kBools, print_bool}};

constexpr int kGroupRows = 64, kGroupThreads = 128;
constexpr int kPanelBytes = 128;
constexpr int kEight = 8;               // tokens that boxes of pages are made of
constexpr std::int64_t kCopyUnit = 16;  // bytes that addresses and strides of tensor copies are multiples of
// Of the 60 MB that an H200 has: items of the next section already come in.
constexpr std::int64_t kCacheBytes = std::int64_t{32} << 20;
// Below, half of a tile's rows would be empty, and the generic kernel splits its KV further.
constexpr int kLeastRows = 64;

bool is_served(Dtype type, int dim_qk, int dim_vo) {
  if (type == Dtype::kE4m3) return dim_vo == dim_qk && (dim_qk == 64 || dim_qk == 128);
  if (dim_qk == 192) return dim_vo == 128;
  return std::ranges::find(kHeadDims, dim_qk) != std::end(kHeadDims) && dim_vo == dim_qk;
}

bool valid(jit::Values values, cuda::Architecture architecture) {
  return architecture == cuda::Architecture::kSm90a &&
         is_served(static_cast<Dtype>(values[kType]), values[kDimQk], values[kDimVo]);
}

// The kernels' names for types are numbered as ours.
constexpr kernel::Dtype kernel_type(Dtype type) { return static_cast<kernel::Dtype>(type); }

kernel::Sm90Form form_of(const AttentionCudaShape& shape) {
  return kernel::sm90_form(kernel_type(shape.q_dtype), shape.head_dim_qk);
}

jit::LaunchFacts launch_facts(jit::Values values, cuda::Architecture) {
  const auto type = static_cast<kernel::Dtype>(values[kType]);
  return {.threads = (kernel::sm90_form(type, values[kDimQk]).groups + 1) * kGroupThreads,
          .shared_bytes = kernel::sm90_shared_bytes(type, values[kDimQk], values[kDimVo])};
}

constexpr jit::KernelSource kPrefillSm90 = {.name = "attention_prefill_sm90",
                                            .header = "attention/sm90/prefill_sm90.cuh",
                                            .types = "tile/dtype.h",
                                            .constants = kConstants,
                                            .least_architecture = cuda::Architecture::kSm90a,
                                            .valid = valid,
                                            .launch_facts = launch_facts};

// Query heads of a KV head that share the rows of a tile: a power of two, so that tiles hold whole tokens.
int pack_of(const AttentionCudaShape& shape) {
  const int group = shape.group();
  return std::min(kGroupRows, group & -group);
}

// KV tokens that a copy brings.
int tokens_of_box(const AttentionCudaShape& shape) {
  const int block = form_of(shape).block_tokens;
  return shape.page_size > 0 ? std::gcd(shape.page_size, block) : block;
}

int tokens_of_tile(const AttentionCudaShape& shape) {
  return form_of(shape).groups * kGroupRows / pack_of(shape);
}

// A tensor of rows of `dim` elements as the kernel's maps have it. Axes are those beside columns and panels,
// innermost first, of which `inner` lie inside the panels; strides are bytes.
struct MapShape {
  const void* data;
  int dim;
  int inner;
  std::array<std::int64_t, 3> sizes, strides;
  std::array<int, 3> box;
};

cuda::TensorMapType map_type(Dtype type) {
  if (type == Dtype::kE4m3) return cuda::TensorMapType::kU8;
  return type == Dtype::kF16 ? cuda::TensorMapType::kF16 : cuda::TensorMapType::kBf16;
}

kernel::TensorMap map_of(const AttentionCudaShape& shape, const MapShape& map, const Gpu& gpu) {
  const bool maps_panels = kernel::sm90_maps_panels(kernel_type(shape.q_dtype), map.dim);
  const int panel_elements = kPanelBytes / static_cast<int>(size_of(shape.q_dtype));
  const int panels = maps_panels ? map.dim / panel_elements : 1;
  cuda::TensorMapRequest request{.address = map.data,
                                 .type = map_type(shape.q_dtype),
                                 .rank = 5,
                                 .swizzle = cuda::TensorMapSwizzle::k128Bytes,
                                 .device = gpu.device.index};
  request.sizes[0] = static_cast<std::uint64_t>(maps_panels ? panel_elements : map.dim);
  request.box[0] = static_cast<std::uint32_t>(panel_elements);
  std::size_t axis = 1;
  const auto add = [&](std::int64_t size, std::int64_t stride, int box) {
    request.sizes[axis] = static_cast<std::uint64_t>(size);
    request.strides_bytes[axis - 1] = static_cast<std::uint64_t>(stride);
    request.box[axis++] = static_cast<std::uint32_t>(box);
  };
  for (int i = 0; i < 3; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (i == map.inner) add(panels, kPanelBytes, panels);
    add(map.sizes[at], map.strides[at], map.box[at]);
  }
  return std::bit_cast<kernel::TensorMap>(cuda::tensor_map(request));
}

// Eights of tokens from page to page.
std::int64_t page_eights(std::int64_t stride_page, std::int64_t stride_token) {
  return stride_page / (kEight * stride_token);
}

// Query rows or results.
kernel::TensorMap map_of_rows(const AttentionCudaShape& shape, const AttentionExtents& extents,
                              const void* data, int dim, std::int64_t stride_token, std::int64_t stride_head,
                              const Gpu& gpu) {
  const int pack = pack_of(shape);
  return map_of(shape,
                {.data = data,
                 .dim = dim,
                 .inner = 2,
                 .sizes = {pack, extents.q_rows, shape.num_qo_heads / pack},
                 .strides = {stride_head, stride_token, stride_head * pack},
                 .box = {pack, kGroupRows / pack, 1}},
                gpu);
}

// Whether results go out by tensor copies.
bool sends_results(const AttentionCudaShape& shape, const kernel::AttentionParams& params) {
  return params.out_dtype == static_cast<int>(shape.q_dtype) &&
         kernel::sm90_result_bytes(kernel_type(shape.q_dtype), shape.head_dim_qk, shape.head_dim_vo) > 0;
}

kernel::TensorMap map_of_kv(const AttentionCudaShape& shape, const AttentionExtents& extents,
                            const void* data, int dim, std::int64_t stride_page, std::int64_t stride_token,
                            std::int64_t stride_head, const Gpu& gpu) {
  const int box = tokens_of_box(shape);
  if (shape.page_size == 0)
    return map_of(shape,
                  {.data = data,
                   .dim = dim,
                   .inner = 1,
                   .sizes = {extents.kv_rows, shape.num_kv_heads, 1},
                   .strides = {stride_token, stride_head, stride_token},
                   .box = {box, 1, 1}},
                  gpu);
  const std::int64_t eights =
      (extents.kv_rows - 1) * page_eights(stride_page, stride_token) + shape.page_size / kEight;
  return map_of(shape,
                {.data = data,
                 .dim = dim,
                 .inner = 1,
                 .sizes = {kEight, eights, shape.num_kv_heads},
                 .strides = {stride_token, kEight * stride_token, stride_head},
                 .box = {kEight, box / kEight, 1}},
                gpu);
}

}  // namespace

bool serves_sm90(const AttentionCudaShape& shape) {
  return std::ranges::find(kTypes, static_cast<int>(shape.q_dtype)) != std::end(kTypes) &&
         shape.kv_dtype == shape.q_dtype && is_served(shape.q_dtype, shape.head_dim_qk, shape.head_dim_vo) &&
         tokens_of_box(shape) % kEight == 0 && !shape.soft_cap && !shape.alibi && !shape.rope &&
         shape.mask != MaskMode::kCustom;
}

bool prefers_sm90(const AttentionCudaShape& shape, int qo_len) {
  // Of e4m3 queries there is but the kernel in f32.
  return shape.q_dtype == Dtype::kE4m3 || std::int64_t{qo_len} * shape.group() >= kLeastRows;
}

plan::WorkListOptions sm90_list_options(const AttentionCudaShape& shape, const Gpu& gpu) {
  return {.num_kv_heads = shape.num_kv_heads,
          .group_size = shape.group(),
          .workers = gpu.sm_count,
          .causal = shape.mask == MaskMode::kCausal,
          .window_left = shape.window_left,
          .deterministic = shape.deterministic,
          .item_rows = tokens_of_tile(shape) * shape.group(),
          .heads_together = 1,
          .items_per_worker = 1,
          .many_rows_shares = 2};
}

kernel::Sm90List order_sm90_list(const AttentionCudaShape& shape, plan::DeviceWorkList& list,
                                 std::vector<kernel::AttentionItem>& scratch) {
  const std::int64_t dims = shape.head_dim_qk + shape.head_dim_vo;
  const std::int32_t heads =
      plan::order_by_cache(list.items,
                           {.num_kv_heads = shape.num_kv_heads,
                            .bytes_per_token = dims * static_cast<std::int64_t>(size_of(shape.kv_dtype)),
                            .cache_bytes = kCacheBytes},
                           scratch);
  // Merges, in the order of their slots, name an item of theirs.
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    const auto merge =
        std::ranges::lower_bound(list.merges, list.items[i].slot, {}, &kernel::AttentionMerge::first_slot);
    if (merge != list.merges.end() && merge->first_slot == list.items[i].slot)
      merge->item = static_cast<std::int32_t>(i);
  }
  const int together = heads * (shape.group() / pack_of(shape)), packs = shape.num_qo_heads / pack_of(shape);
  const auto items = static_cast<std::uint32_t>(list.items.size());
  return {.taken = 0,
          .ended = 0,
          .work = items * static_cast<std::uint32_t>(packs),
          .section = divisor(items * static_cast<std::uint32_t>(together)),
          .together = divisor(static_cast<std::uint32_t>(together))};
}

bool expresses_sm90(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                    const AttentionExtents& extents) {
  const auto fits = [](std::initializer_list<std::int64_t> numbers) {
    return std::ranges::all_of(numbers, [](std::int64_t x) { return x > 0 && x % kCopyUnit == 0; });
  };
  const auto page_fits = [&](std::int64_t stride_page, std::int64_t stride_token) {
    return fits({stride_page, stride_token}) && stride_page % (kEight * stride_token) == 0;
  };
  const bool pages_fit = shape.page_size == 0 || (page_fits(params.k_stride_page, params.k_stride_token) &&
                                                  page_fits(params.v_stride_page, params.v_stride_token));
  const auto address = [](const void* p) {
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(p));
  };
  const bool is_out = shape.q_dtype == Dtype::kE4m3 || params.out_dtype == static_cast<int>(shape.q_dtype) ||
                      params.out_dtype == static_cast<int>(Dtype::kF32);
  return is_out && params.scale > 0 && extents.q_rows > 0 && extents.kv_rows > 0 && pages_fit &&
         fits({address(params.q), params.q_stride_token, params.q_stride_head, address(params.k),
               params.k_stride_token, params.k_stride_head, address(params.v), params.v_stride_token,
               params.v_stride_head, address(params.out), params.out_stride_token, params.out_stride_head});
}

void launch_sm90(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                 const AttentionExtents& extents, kernel::Sm90List* list, std::int64_t items, const Gpu& gpu,
                 const Launch& launch) {
  const kernel::AttentionParams& p = params;
  const int pack = pack_of(shape), packs = shape.num_qo_heads / pack;
  const bool paged = shape.page_size > 0;
  const auto eights = [&](std::int64_t stride_page, std::int64_t stride_token) {
    return paged ? static_cast<std::int32_t>(page_eights(stride_page, stride_token)) : 0;
  };
  const kernel::AttentionSm90Params all{
      .q = map_of_rows(shape, extents, p.q, shape.head_dim_qk, p.q_stride_token, p.q_stride_head, gpu),
      .out = sends_results(shape, p) ? map_of_rows(shape, extents, p.out, shape.head_dim_vo,
                                                   p.out_stride_token, p.out_stride_head, gpu)
                                     : kernel::TensorMap{},
      .k = map_of_kv(shape, extents, p.k, shape.head_dim_qk, p.k_stride_page, p.k_stride_token,
                     p.k_stride_head, gpu),
      .v = map_of_kv(shape, extents, p.v, shape.head_dim_vo, p.v_stride_page, p.v_stride_token,
                     p.v_stride_head, gpu),
      .attention = params,
      .list = list,
      .packs_of_kv_head = shape.group() / pack,
      .pack_log2 = std::countr_zero(static_cast<unsigned>(pack)),
      .box_tokens = tokens_of_box(shape),
      .k_page_eights = eights(p.k_stride_page, p.k_stride_token),
      .v_page_eights = eights(p.v_stride_page, p.v_stride_token)};
  const cuda::Kernel& kernel =
      jit::get(kPrefillSm90, {static_cast<int>(shape.q_dtype), shape.head_dim_qk, shape.head_dim_vo, paged},
               gpu.device, launch.stream);
  const auto blocks = std::min<std::int64_t>(gpu.sm_count, items * packs);
  cuda::launch(kernel,
               {.grid = {.x = static_cast<std::uint32_t>(blocks)},
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               all);
}

void declare_attention_sm90_kernels(jit::KernelRegistry& registry) { registry.add(kPrefillSm90); }

}  // namespace strobe::op
