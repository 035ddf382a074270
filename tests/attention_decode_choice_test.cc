// Which decode kernel serves a batch, on every architecture.
#include <gtest/gtest.h>

#include <string>

#include "jit/rehearsal.h"
#include "ops/attention_decode_cuda.h"

namespace strobe::op {
namespace {

AttentionCudaShape shape_of(int head_dim, Dtype kv = Dtype::kBf16) {
  return {.q_dtype = Dtype::kBf16,
          .kv_dtype = kv,
          .num_qo_heads = 32,
          .num_kv_heads = 8,
          .head_dim_qk = head_dim,
          .head_dim_vo = head_dim,
          .page_size = 16,
          .mask = MaskMode::kCausal,
          .window_left = -1,
          .soft_cap = false,
          .alibi = false,
          .rope = false,
          .deterministic = false,
          .backend = Backend::kAuto,
          .fixed = false,
          .max_batch_size = 1,
          .max_qo_len = 1,
          .max_query_tokens = 1};
}

TEST(DecodeTiling, FitsEveryArchitecture) {
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures)
    for (const int head_dim : {64, 96, 128, 192, 256})
      for (const int kv_bytes : {1, 2})
        for (const int head_tiles : {1, 2})
          for (const bool general : {false, true}) {
            const DecodeTiling tiling = choose_decode_tiling({.kv_bytes = kv_bytes,
                                                              .head_dim_qk = head_dim,
                                                              .head_dim_vo = head_dim,
                                                              .head_tiles = head_tiles,
                                                              .general = general,
                                                              .long_tiles = true},
                                                             facts.architecture);
            const std::string label = std::string(facts.name) + " " + std::to_string(head_dim);
            EXPECT_GE(tiling.warps, 4) << label;
            EXPECT_GE(tiling.stages, 1) << label;
            EXPECT_LE(tiling.shared_bytes, facts.shared_bytes_per_block) << label;
            const int ring = tiling.warps * tiling.stages * tiling.tile_rows * 2 * head_dim * kv_bytes;
            EXPECT_LE(ring, tiling.shared_bytes) << label;
            // One block of an SM: the next grid's cannot crowd beside it.
            EXPECT_GT(2 * (tiling.shared_bytes + cuda::kKiB), facts.shared_bytes_per_sm) << label;
            if (facts.shared_bytes_per_sm >= 164 * cuda::kKiB) EXPECT_GE(ring, 64 * cuda::kKiB) << label;
          }
}

// Rows of 512 elements take more shared memory than small SMs have.
TEST(DecodeTiling, LargeHeadsWhereTheyFit) {
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures) {
    const DecodeTiling tiling = choose_decode_tiling({.kv_bytes = 2,
                                                      .head_dim_qk = 512,
                                                      .head_dim_vo = 512,
                                                      .head_tiles = 1,
                                                      .general = false,
                                                      .long_tiles = true},
                                                     facts.architecture);
    const bool fits = facts.shared_bytes_per_block >= 163 * cuda::kKiB;
    EXPECT_EQ(tiling.warps, fits ? 4 : 0) << facts.name;
    EXPECT_LE(tiling.shared_bytes, facts.shared_bytes_per_block) << facts.name;
    AttentionCudaShape shape = shape_of(512);
    const bool served = fits && facts.architecture != cuda::Architecture::kSm100a;  // its registers spill
    EXPECT_EQ(serves_decode(shape, 1, facts.architecture), served) << facts.name;
    EXPECT_FALSE(serves_decode(shape, 2, facts.architecture)) << "masks of two query tokens";
    EXPECT_FALSE(serves_decode(shape_of(512, Dtype::kE4m3), 1, facts.architecture));
    shape.mask = MaskMode::kNone;
    EXPECT_EQ(serves_decode(shape, 2, facts.architecture), served) << facts.name;
    shape.page_size = 8;
    EXPECT_FALSE(serves_decode(shape, 2, facts.architecture)) << "a page to look up for each row of a tile";
    shape.page_size = 16;
    EXPECT_EQ(serves_decode(shape, 2, facts.architecture), served) << facts.name;
    EXPECT_FALSE(serves_decode(shape, 3, facts.architecture)) << "more than 8 rows";
    shape.window_left = 100;
    EXPECT_FALSE(serves_decode(shape, 1, facts.architecture));
  }
}

TEST(DecodeChoice, ServesWhatItCanAlone) {
  constexpr cuda::Architecture kArchitecture = cuda::Architecture::kSm90a;
  EXPECT_TRUE(serves_decode(shape_of(128), 1, kArchitecture));
  EXPECT_TRUE(serves_decode(shape_of(128), 4, kArchitecture)) << "16 rows";
  EXPECT_FALSE(serves_decode(shape_of(128), 5, kArchitecture));
  EXPECT_TRUE(serves_decode(shape_of(256), 2, kArchitecture)) << "8 rows";
  EXPECT_FALSE(serves_decode(shape_of(256), 3, kArchitecture));
  EXPECT_FALSE(serves_decode(shape_of(192), 3, kArchitecture));
  EXPECT_FALSE(serves_decode(shape_of(80), 1, kArchitecture));
  EXPECT_FALSE(serves_decode(shape_of(128, Dtype::kF16), 1, kArchitecture)) << "not the type of q";
  EXPECT_TRUE(serves_decode(shape_of(128, Dtype::kE5m2), 1, kArchitecture));
  AttentionCudaShape shape = shape_of(192);
  shape.head_dim_vo = 128;
  EXPECT_TRUE(serves_decode(shape, 1, kArchitecture));
  shape = shape_of(128);
  shape.rope = true;
  EXPECT_FALSE(serves_decode(shape, 1, kArchitecture));
  shape = shape_of(128);
  shape.q_dtype = shape.kv_dtype = Dtype::kF32;
  EXPECT_FALSE(serves_decode(shape, 1, kArchitecture));
}

// Launching asks jit::get for the kernel, which throws when there is none.
TEST(DecodeChoice, AsksForKernelsThatExist) {
  const std::vector<plan::AttentionRequest> requests = {
      {.request = 0, .q_row = 0, .qo_len = 2, .kv_base = 0, .kv_len = 5000}};
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures)
    for (const int head_dim : {64, 96, 128, 192, 256})
      for (const Dtype kv : {Dtype::kBf16, Dtype::kE4m3, Dtype::kE5m2})
        for (const int page_size : {0, 1, 16, 48, 64})
          for (const bool general : {false, true}) {
            AttentionCudaShape shape = shape_of(head_dim, kv);
            shape.page_size = page_size;
            shape.mask = general ? MaskMode::kCausal : MaskMode::kNone;
            const Gpu gpu{Device{DeviceType::kCuda, 0}, facts.architecture, 108};
            const DecodeChoice choice = choose_decode(shape, requests, gpu);
            ASSERT_TRUE(choice.suited) << facts.name;
            jit::Rehearsal rehearsal(facts.architecture);
            launch_decode(choice, {}, gpu, Launch{});
            ASSERT_EQ(rehearsal.variants().size(), 1u);
            EXPECT_TRUE(jit::exists(rehearsal.variants()[0])) << jit::describe(rehearsal.variants()[0]);
          }
}

TEST(DecodeChoice, OfAFixedShapeDoesNotFollowTheLengths) {
  AttentionCudaShape shape = shape_of(128);
  shape.fixed = true;
  shape.max_batch_size = 128;
  const Gpu gpu{Device{DeviceType::kCuda, 0}, cuda::Architecture::kSm90a, 132};
  const std::vector<plan::AttentionRequest> one = {
      {.request = 0, .q_row = 0, .qo_len = 1, .kv_base = 0, .kv_len = 100000}};
  const DecodeChoice of_one = choose_decode(shape, one, gpu), of_none = choose_decode(shape, {}, gpu);
  EXPECT_EQ(of_one.values, of_none.values);
  EXPECT_EQ(of_one.blocks, of_none.blocks);
  plan::DeviceWorkList list;
  for (const bool deterministic : {false, true}) {
    shape.deterministic = deterministic;
    const DecodeChoice choice = choose_decode(shape, {}, gpu);
    std::vector<plan::AttentionRequest> requests;
    for (std::int32_t r = 0; r < 128; ++r)
      requests.push_back({.request = r, .q_row = r, .qo_len = 1, .kv_base = 0, .kv_len = 1 + r * r * 10});
    for (const std::size_t count : {1u, 3u, 128u}) {
      plan_decode(choice, shape, std::span(requests).last(count), list);
      EXPECT_LE(static_cast<std::int32_t>(list.items.size()), most_items(choice, shape));
      EXPECT_LE(list.slots, most_slots(choice, shape));
      EXPECT_LE(static_cast<std::int32_t>(list.merges.size()), most_merges(choice, shape));
    }
  }
}

TEST(DecodeChoice, UnalignedRowsAreRefusedByName) {
  const AttentionCudaShape shape = shape_of(128);
  const Gpu gpu{Device{DeviceType::kCuda, 0}, cuda::Architecture::kSm90a, 132};
  const std::vector<plan::AttentionRequest> one = {
      {.request = 0, .q_row = 0, .qo_len = 1, .kv_base = 0, .kv_len = 10}};
  const DecodeChoice choice = choose_decode(shape, one, gpu);
  const auto refusal = [&](kernel::AttentionParams params) -> std::string {
    try {
      jit::Rehearsal rehearsal(cuda::Architecture::kSm90a);
      launch_decode(choice, params, gpu, Launch{});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal({}), "accepted");
  EXPECT_NE(refusal({.k_stride_token = 264}).find("multiples of 16 bytes"), std::string::npos);
  EXPECT_NE(refusal({.q_stride_head = 258}).find("multiples of 4 bytes"), std::string::npos);
}

}  // namespace
}  // namespace strobe::op
