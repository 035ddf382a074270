#include <cmath>
#include <vector>

#include "jit/kernel_source.h"
#include "ops/rope_cuda.h"
#include "strobe/rope.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::check_on_gpu;
using test::expect_routine_matches_on_gpu;
using test::GpuRun;
using test::Layout;

class CudaRope : public test::GpuTest {};

Tensor random_tensor(Dtype dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed) {
  Tensor tensor(dtype, shape);
  op::Random random(seed);
  op::fill_normal(tensor, random);
  return tensor;
}

TEST_F(CudaRope, PositionIdsMatchTheReferenceOverDtypesAndTails) {
  const std::pair<const char*, const char*> kDims[] = {
      {"2", "0"},   {"8", "0"},   {"24", "20"},  {"64", "0"},  {"66", "66"}, {"72", "34"},
      {"80", "48"}, {"128", "0"}, {"128", "64"}, {"192", "2"}, {"256", "0"}, {"512", "512"}};
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const char* interleave : {"false", "true"})
      for (const auto& [head_dim, rotary_dim] : kDims)
        expect_routine_matches_on_gpu("apply_rope_pos_ids", {{"nnz", "5"},
                                                             {"num_qo_heads", "3"},
                                                             {"num_kv_heads", "2"},
                                                             {"head_dim", head_dim},
                                                             {"rotary_dim", rotary_dim},
                                                             {"dtype", dtype},
                                                             {"interleave", interleave}});
}

// Enough tokens for four heads a thread, and more heads than a block has threads for.
TEST_F(CudaRope, MatchesTheReferenceOnManyTokensAndHeads) {
  for (const char* interleave : {"false", "true"}) {
    expect_routine_matches_on_gpu(
        "apply_rope_pos_ids",
        {{"nnz", "1501"}, {"num_qo_heads", "32"}, {"num_kv_heads", "8"}, {"interleave", interleave}});
    expect_routine_matches_on_gpu("apply_rope_pos_ids", {{"nnz", "3"},
                                                         {"num_qo_heads", "301"},
                                                         {"num_kv_heads", "7"},
                                                         {"interleave", interleave},
                                                         {"head_dim", "96"},
                                                         {"rotary_dim", "64"}});
  }
}

TEST_F(CudaRope, OffsetsMatchTheReferenceOverBatches) {
  for (const char* llama31 : {"false", "true"})
    for (const char* batch_size : {"1", "3", "40"})  // more requests than tokens: some are empty
      for (const char* nnz : {"1", "33"})
        expect_routine_matches_on_gpu("apply_rope", {{"nnz", nnz},
                                                     {"batch_size", batch_size},
                                                     {"num_qo_heads", "2"},
                                                     {"num_kv_heads", "1"},
                                                     {"head_dim", "128"},
                                                     {"dtype", "f32"},
                                                     {"llama31", llama31},
                                                     {"rope_scale", "8"},
                                                     {"rope_theta", "500000"}});
}

TEST_F(CudaRope, TableMatchesTheReference) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const char* index : {"i32", "i64"})
      for (const char* interleave : {"false", "true"})
        for (const auto& [head_dim, rotary_dim] : {std::pair{"128", "128"}, {"64", "40"}, {"20", "6"}})
          expect_routine_matches_on_gpu("apply_rope_with_cos_sin_cache", {{"nnz", "7"},
                                                                          {"num_qo_heads", "3"},
                                                                          {"num_kv_heads", "2"},
                                                                          {"head_dim", head_dim},
                                                                          {"rotary_dim", rotary_dim},
                                                                          {"max_position", "50"},
                                                                          {"dtype", dtype},
                                                                          {"positions_dtype", index},
                                                                          {"interleave", interleave}});
}

TEST_F(CudaRope, WorksInPlaceStridedMisalignedAndInAGraph) {
  for (const char* rotary_dim : {"0", "32"}) {
    const test::Values values = {{"nnz", "9"},
                                 {"num_qo_heads", "4"},
                                 {"num_kv_heads", "2"},
                                 {"head_dim", "64"},
                                 {"rotary_dim", rotary_dim}};
    expect_routine_matches_on_gpu("apply_rope_pos_ids", values, Layout::kInPlace);
    expect_routine_matches_on_gpu("apply_rope_pos_ids", values, Layout::kStrided);
    expect_routine_matches_on_gpu("apply_rope_pos_ids", values, Layout::kDense, {.graph = true});
    expect_routine_matches_on_gpu("apply_rope_pos_ids", values, Layout::kInPlace, {.graph = true});
    for (std::size_t shift : {4, 8})
      expect_routine_matches_on_gpu("apply_rope_pos_ids", values, Layout::kDense, {.shift = shift});
  }
}

// q, k and v side by side in one row; q and k turn in place.
TEST_F(CudaRope, TakesSlicesOfAFusedProjection) {
  for (bool interleave : {false, true}) {
    const Tensor qkv = random_tensor(Dtype::kBf16, {5, 8, 24}, 3);
    const TensorView q = qkv.view().slice(1, 0, 4), k = qkv.view().slice(1, 4, 6);
    std::vector<std::int64_t> pos_ids = {1'000'000, 999'983, 123'457, -1, -1'000'000};
    const op::CheckResult result =
        check_on_gpu("apply_rope_pos_ids", RopePosIdsArgs{.q = q,
                                                          .k = k,
                                                          .pos_ids = TensorView::of(pos_ids),
                                                          .q_out = q,
                                                          .k_out = k,
                                                          .rotary_dim = 20,
                                                          .interleave = interleave});
    EXPECT_TRUE(result.passed) << result.worst;
  }
}

// Angles stay exact where position * frequency in f32 would be off by a tenth of a radian.
TEST_F(CudaRope, IsExactAtLargeAndNegativePositions) {
  std::vector<std::int64_t> pos_ids = {1'000'000, 999'983, 123'457, -1, -1'000'000};
  const Tensor q = random_tensor(Dtype::kF32, {5, 3, 128}, 1), k = random_tensor(Dtype::kF32, {5, 2, 128}, 2);
  const Tensor q_out(Dtype::kF32, {5, 3, 128}), k_out(Dtype::kF32, {5, 2, 128});
  const op::CheckResult result = check_on_gpu(
      "apply_rope_pos_ids",
      RopePosIdsArgs{.q = q, .k = k, .pos_ids = TensorView::of(pos_ids), .q_out = q_out, .k_out = k_out});
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaRope, TokensOutsideTheTableBecomeNan) {
  std::vector<std::int32_t> positions = {0, 7, 8, -1, 3};
  const Tensor q = random_tensor(Dtype::kF32, {5, 3, 64}, 1), k = random_tensor(Dtype::kF32, {5, 2, 64}, 2);
  const Tensor table = random_tensor(Dtype::kF32, {8, 64}, 3);
  const Tensor q_out(Dtype::kF32, {5, 3, 64}), k_out(Dtype::kF32, {5, 2, 64});
  RopeCosSinCacheArgs args{.q = q,
                           .k = k,
                           .positions = TensorView::of(positions),
                           .cos_sin_cache = table,
                           .q_out = q_out,
                           .k_out = k_out};
  test::run_on_gpu(*op::registry().find("apply_rope_with_cos_sin_cache"), &args, "outside", {},
                   [&](Stream stream) { apply_rope_with_cos_sin_cache(args, stream); });
  for (std::int64_t t = 0; t < 5; ++t)
    for (std::int64_t j = 0; j < 64; ++j)
      EXPECT_EQ(std::isnan(q_out.view().at<float>(t, 2, j)), t == 2 || t == 3) << t << " " << j;
}

TEST_F(CudaRope, AnotherPositionFailsTheCheck) {
  std::vector<std::int32_t> pos_ids = {0, 1, 77, 4095, 100000};
  const Tensor q = random_tensor(Dtype::kBf16, {5, 3, 64}, 1), k = random_tensor(Dtype::kBf16, {5, 2, 64}, 2);
  const Tensor q_out(Dtype::kBf16, {5, 3, 64}), k_out(Dtype::kBf16, {5, 2, 64});
  RopePosIdsArgs args{.q = q, .k = k, .pos_ids = TensorView::of(pos_ids), .q_out = q_out, .k_out = k_out};
  const op::Operator& op = *op::registry().find("apply_rope_pos_ids");
  op::Axes axes;
  op::validate(op, &args, op::Phase::kRun, axes);
  op::Random random(1);
  const op::Expected expected = op::expect(op, &args, axes, 1 << 20, random);
  pos_ids[2] = 78;
  test::run_on_gpu(op, &args, "a wrong position", {},
                   [&](Stream stream) { apply_rope_pos_ids(args, stream); });
  EXPECT_FALSE(op::compare(op, &args, axes, expected).passed);
}

// Without a GPU: every element of every head belongs to a thread, and a block's angles have room.
TEST(CudaRopeChoice, CoversEveryHead) {
  const jit::KernelSource* rope = jit::kernel_registry().find("rope");
  for (std::int64_t tokens : {1, 100, 1 << 20})
    for (std::int64_t heads : {1, 2, 5, 40, 400})
      for (int head_dim : {2, 8, 64, 80, 128, 256, 512})
        for (int rotary_dim : {head_dim, head_dim / 2})
          for (int vector : {1, 4, 8})
            for (bool table : {false, true}) {
              if (rotary_dim % 2 != 0 || rotary_dim / 2 % vector != 0 ||
                  (head_dim - rotary_dim) % vector != 0)
                continue;
              const op::RopeChoice choice = op::choose_rope({.tokens = tokens,
                                                             .heads = heads,
                                                             .head_dim = head_dim,
                                                             .rotary_dim = rotary_dim,
                                                             .vector = vector,
                                                             .table = table,
                                                             .copy_rest = true},
                                                            132);
              EXPECT_GE(choice.columns * 2 * vector, head_dim);
              EXPECT_GE(choice.head_groups * choice.items, heads);
              EXPECT_GE(choice.blocks * choice.block_tokens, tokens);
              EXPECT_LE(choice.block_tokens * rotary_dim / 2, std::max(256 * vector, rotary_dim / 2));
              const Dtype dtype = vector == 4 ? Dtype::kF32 : Dtype::kBf16;
              const jit::Variant variant{
                  rope, {static_cast<int>(dtype), 1, table, false, choice.vector, choice.items, 64}};
              EXPECT_TRUE(jit::exists(variant)) << jit::describe(variant);
            }
}

}  // namespace
}  // namespace strobe
