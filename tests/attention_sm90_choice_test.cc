// Which requests Hopper's kernel serves, and the order of its work.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "attention/sm90/form.h"
#include "ops/attention_sm90_cuda.h"
#include "plan/cache_order.h"

namespace strobe::op {
namespace {

AttentionCudaShape shape_of(int head_dim_qk, int head_dim_vo, int page_size = 16) {
  AttentionCudaShape shape{};
  shape.q_dtype = shape.kv_dtype = Dtype::kBf16;
  shape.num_qo_heads = 32;
  shape.num_kv_heads = 8;
  shape.head_dim_qk = head_dim_qk;
  shape.head_dim_vo = head_dim_vo;
  shape.page_size = page_size;
  shape.mask = MaskMode::kCausal;
  shape.window_left = -1;
  return shape;
}

TEST(Sm90Form, FitsSharedMemoryAndRegisters) {
  constexpr int kGrantedRegisters = 65536;
  for (const kernel::Dtype type : {kernel::Dtype::kBf16, kernel::Dtype::kE4m3})
    for (auto [qk, vo] : {std::pair{64, 64}, {96, 96}, {128, 128}, {192, 128}, {256, 256}}) {
      if (type == kernel::Dtype::kE4m3 && qk > 128) continue;
      const kernel::Sm90Form form = kernel::sm90_form(type, qk);
      EXPECT_LE(kernel::sm90_shared_bytes(type, qk, vo),
                cuda::facts(cuda::Architecture::kSm90a).shared_bytes_per_block)
          << qk;
      // setmaxnreg moves what the launch was granted: a multiple of 8 for every thread.
      const int threads = 128 * (form.groups + 1), granted = kGrantedRegisters / threads / 8 * 8 * threads;
      EXPECT_LE(128 * (form.load_registers + form.groups * form.math_registers), granted) << qk;
    }
}

TEST(Sm90Choice, ServesWhatTheKernelComputes) {
  for (auto [qk, vo] : {std::pair{64, 64}, {96, 96}, {128, 128}, {192, 128}, {256, 256}})
    EXPECT_TRUE(serves_sm90(shape_of(qk, vo))) << qk;
  EXPECT_TRUE(serves_sm90(shape_of(128, 128, 0))) << "ragged";
  EXPECT_FALSE(serves_sm90(shape_of(128, 128, 4))) << "boxes of pages are eights of tokens";
  EXPECT_FALSE(serves_sm90(shape_of(72, 72)));
  EXPECT_FALSE(serves_sm90(shape_of(192, 192)));
  AttentionCudaShape shape = shape_of(128, 128);
  shape.kv_dtype = Dtype::kE4m3;
  EXPECT_FALSE(serves_sm90(shape));
  for (bool AttentionCudaShape::*feature :
       {&AttentionCudaShape::soft_cap, &AttentionCudaShape::alibi, &AttentionCudaShape::rope}) {
    shape = shape_of(128, 128);
    shape.*feature = true;
    EXPECT_FALSE(serves_sm90(shape));
  }
  shape = shape_of(128, 128);
  shape.mask = MaskMode::kCustom;
  EXPECT_FALSE(serves_sm90(shape));
}

TEST(Sm90Choice, ServesE4m3OfAnyLength) {
  for (const int dim : {64, 96, 128, 192, 256}) {
    AttentionCudaShape shape = shape_of(dim, dim);
    shape.q_dtype = shape.kv_dtype = Dtype::kE4m3;
    EXPECT_EQ(serves_sm90(shape), dim == 64 || dim == 128) << dim;
    EXPECT_TRUE(prefers_sm90(shape, 1));
    shape.kv_dtype = Dtype::kE5m2;
    EXPECT_FALSE(serves_sm90(shape));
  }
}

TEST(Sm90Choice, PrefersRequestsOfManyRows) {
  const AttentionCudaShape shape = shape_of(128, 128);  // groups of four
  EXPECT_FALSE(prefers_sm90(shape, 1));
  EXPECT_TRUE(prefers_sm90(shape, 512));
}

TEST(Sm90Choice, TensorCopiesNeedAlignedOperands) {
  const AttentionCudaShape shape = shape_of(128, 128);
  const auto memory = [](std::uintptr_t address) { return reinterpret_cast<char*>(address); };
  kernel::AttentionParams params{};
  params.q = params.k = params.v = memory(4096);
  params.out = memory(4096);
  params.q_stride_token = params.out_stride_token = 32 * 256;
  params.k_stride_page = params.v_stride_page = 16 * 8 * 256;
  params.k_stride_token = params.v_stride_token = 8 * 256;
  params.q_stride_head = params.k_stride_head = params.v_stride_head = params.out_stride_head = 256;
  params.out_dtype = static_cast<std::int32_t>(Dtype::kBf16);
  params.scale = 1;
  const AttentionExtents extents{.q_rows = 7, .kv_rows = 3};
  EXPECT_TRUE(expresses_sm90(shape, params, extents));
  const auto expresses_with = [&](auto change) {
    kernel::AttentionParams changed = params;
    change(changed);
    return expresses_sm90(shape, changed, extents);
  };
  EXPECT_FALSE(expresses_with([&](auto& p) { p.q = memory(4098); }));
  EXPECT_FALSE(expresses_with([](auto& p) { p.v_stride_token += 2; }));
  EXPECT_FALSE(expresses_with([](auto& p) { p.k_stride_page += 256; }))
      << "pages are no eights of tokens apart";
  EXPECT_TRUE(expresses_with([](auto& p) { p.out_dtype = static_cast<std::int32_t>(Dtype::kF32); }));
  EXPECT_FALSE(expresses_with([](auto& p) { p.out_dtype = static_cast<std::int32_t>(Dtype::kF16); }));
  EXPECT_FALSE(expresses_with([](auto& p) { p.scale = -1; }));
  EXPECT_FALSE(expresses_sm90(shape, params, {.q_rows = 7, .kv_rows = 0}));
}

kernel::AttentionItem item_of(int request, int kv_len, int q_begin) {
  kernel::AttentionItem item{};
  item.request = request;
  item.kv_len = item.kv_end = kv_len;
  item.q_begin = q_begin;
  return item;
}

TEST(CacheOrder, SectionsHoldWhatFitsTheCacheAndKeepTheirOrder) {
  // Longest first over four requests, two of which fit the cache together.
  std::vector<kernel::AttentionItem> items;
  for (int q_begin : {0, 1})
    for (int request : {3, 2, 1, 0}) items.push_back(item_of(request, 100, q_begin));
  std::vector<kernel::AttentionItem> scratch;
  const std::int32_t heads =
      plan::order_by_cache(items, {.num_kv_heads = 4, .bytes_per_token = 10, .cache_bytes = 8000}, scratch);
  EXPECT_EQ(heads, 4);
  std::string order;
  for (const kernel::AttentionItem& item : items)
    order += std::to_string(item.request) + std::to_string(item.q_begin) + " ";
  EXPECT_EQ(order, "10 00 11 01 30 20 31 21 ");
}

TEST(CacheOrder, LongRequestsAreDoneForFewerHeads) {
  std::vector<kernel::AttentionItem> items = {item_of(0, 1000, 0)}, scratch;
  const auto heads_of = [&](std::int64_t cache_bytes) {
    return plan::order_by_cache(items, {.num_kv_heads = 6, .bytes_per_token = 10, .cache_bytes = cache_bytes},
                                scratch);
  };
  EXPECT_EQ(heads_of(60000), 6);
  EXPECT_EQ(heads_of(59999), 3) << "a divisor of all";
  EXPECT_EQ(heads_of(20000), 2);
  EXPECT_EQ(heads_of(5000), 1) << "does not fit at all";
  items.clear();
  EXPECT_EQ(heads_of(5000), 6) << "no items";
}

}  // namespace
}  // namespace strobe::op
