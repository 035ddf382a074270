#include "strobe/rope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "op/random.h"
#include "strobe/threads.h"
#include "support/call_check.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::check_call;
using test::error_message;
using test::expect_matches_reference;
using testing::HasSubstr;

constexpr Dtype kFloatDtypes[] = {Dtype::kF32, Dtype::kF16, Dtype::kBf16};

Tensor random_tensor(Dtype dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed) {
  Tensor tensor(dtype, shape);
  op::Random random(seed);
  op::fill_normal(tensor, random);
  return tensor;
}

Tensor poisoned(Dtype dtype, std::initializer_list<std::int64_t> shape) {
  Tensor tensor(dtype, shape);
  op::fill_poison(tensor);
  return tensor;
}

// Dense tensors for five tokens of a few heads, at positions given as ids.
struct Example {
  std::vector<std::int32_t> pos_ids = {0, 1, 77, 4095, 100000};
  Tensor q, k, q_out, k_out;
  explicit Example(Dtype dtype = Dtype::kF32, std::int64_t head_dim = 64, std::int64_t num_qo_heads = 3,
                   std::int64_t num_kv_heads = 2)
      : q(random_tensor(dtype, {5, num_qo_heads, head_dim}, 1)),
        k(random_tensor(dtype, {5, num_kv_heads, head_dim}, 2)),
        q_out(poisoned(dtype, {5, num_qo_heads, head_dim})),
        k_out(poisoned(dtype, {5, num_kv_heads, head_dim})) {}
  RopePosIdsArgs args() {
    return {.q = q, .k = k, .pos_ids = TensorView::of(pos_ids), .q_out = q_out, .k_out = k_out};
  }
  // The same tokens as one request each.
  std::vector<std::int32_t> indptr = {0, 1, 2, 3, 4, 5};
  RopeArgs ragged_args() {
    return {.q = q,
            .k = k,
            .indptr = TensorView::of(indptr),
            .offsets = TensorView::of(pos_ids),
            .q_out = q_out,
            .k_out = k_out};
  }
};

bool same_bytes(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.view().data, b.view().data, static_cast<std::size_t>(a.view().bytes())) == 0;
}

TEST(Rope, PositionIdsMatchTheReferenceOverDtypesAndTails) {
  const std::pair<const char*, const char*> kDims[] = {
      {"2", "0"},   {"8", "0"},   {"24", "20"},  {"64", "0"},  {"66", "66"}, {"72", "34"},
      {"80", "48"}, {"128", "0"}, {"128", "64"}, {"192", "2"}, {"256", "0"}, {"512", "512"}};
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const char* interleave : {"false", "true"})
      for (const auto& [head_dim, rotary_dim] : kDims)
        expect_matches_reference("apply_rope_pos_ids", {{"nnz", "5"},
                                                        {"num_qo_heads", "3"},
                                                        {"num_kv_heads", "2"},
                                                        {"head_dim", head_dim},
                                                        {"rotary_dim", rotary_dim},
                                                        {"dtype", dtype},
                                                        {"interleave", interleave}});
}

TEST(Rope, OffsetsMatchTheReferenceOverBatches) {
  for (const char* llama31 : {"false", "true"})
    for (const char* batch_size : {"1", "3", "16", "40"})  // more requests than tokens: some are empty
      for (const char* nnz : {"1", "13", "33"})
        expect_matches_reference("apply_rope", {{"nnz", nnz},
                                                {"batch_size", batch_size},
                                                {"num_qo_heads", "2"},
                                                {"num_kv_heads", "1"},
                                                {"head_dim", "128"},
                                                {"dtype", "f32"},
                                                {"llama31", llama31},
                                                {"rope_scale", "8"},
                                                {"rope_theta", "500000"}});
}

TEST(Rope, TableMatchesTheReference) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const char* index : {"i32", "i64"})
      for (const char* interleave : {"false", "true"})
        for (const auto& [head_dim, rotary_dim] : {std::pair{"128", "128"}, {"64", "40"}, {"20", "6"}})
          expect_matches_reference("apply_rope_with_cos_sin_cache", {{"nnz", "7"},
                                                                     {"num_qo_heads", "3"},
                                                                     {"num_kv_heads", "2"},
                                                                     {"head_dim", head_dim},
                                                                     {"rotary_dim", rotary_dim},
                                                                     {"max_position", "50"},
                                                                     {"dtype", dtype},
                                                                     {"positions_dtype", index},
                                                                     {"interleave", interleave}});
}

TEST(Rope, NoTokensIsNoWork) {
  for (const char* routine : {"apply_rope", "apply_rope_pos_ids", "apply_rope_with_cos_sin_cache"}) {
    const op::NamedRoutine found = op::find_routine(routine);
    op::Case parameters(found.routine.parameters);
    parameters.set("nnz", "0");
    if (std::string(routine) == "apply_rope") parameters.set("batch_size", "0");
    op::Random random(1);
    found.routine.make(*found.op, parameters, random).run();
  }
}

// Angles stay exact where position * frequency in f32 would be off by a tenth of a radian.
TEST(Rope, IsExactAtLargeAndNegativePositions) {
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    for (Dtype dtype : kFloatDtypes) {
      Example example(dtype, 128);
      std::vector<std::int64_t> pos_ids = {1'000'000, 999'983, 123'457, -1, -1'000'000};
      RopePosIdsArgs args = example.args();
      args.pos_ids = TensorView::of(pos_ids);
      const op::CheckResult result =
          check_call("apply_rope_pos_ids", args, [](const RopePosIdsArgs& a) { apply_rope_pos_ids(a); });
      EXPECT_TRUE(result.passed) << cpu::name(isa) << " " << name(dtype) << ": " << result.worst;
    }
  }
}

// q, k and v side by side in one row; q and k are rotated in place or into a tensor with heads before tokens.
TEST(Rope, TakesSlicesOfAFusedProjectionAndPermutedOutputs) {
  constexpr std::int64_t kTokens = 5, kQ = 4, kK = 2, kDim = 24;
  for (cpu::Isa isa : test::isa_levels())
    for (Dtype dtype : kFloatDtypes)
      for (bool interleave : {false, true})
        for (bool in_place : {false, true}) {
          const test::ScopedIsa scoped(isa);
          Example example;
          const Tensor qkv = random_tensor(dtype, {kTokens, kQ + 2 * kK, kDim}, 3);
          const Tensor before = qkv.clone();
          const Tensor q_out = poisoned(dtype, {kQ, kTokens, kDim}),
                       k_out = poisoned(dtype, {kK, kTokens, kDim});
          RopePosIdsArgs args = example.args();
          args.q = qkv.view().slice(1, 0, kQ);
          args.k = qkv.view().slice(1, kQ, kQ + kK);
          args.q_out = in_place ? args.q : q_out.view().permute({1, 0, 2});
          args.k_out = in_place ? args.k : k_out.view().permute({1, 0, 2});
          args.rotary_dim = 20;
          args.interleave = interleave;
          const op::CheckResult result =
              check_call("apply_rope_pos_ids", args, [](const RopePosIdsArgs& a) { apply_rope_pos_ids(a); });
          EXPECT_TRUE(result.passed) << cpu::name(isa) << " " << name(dtype) << " in place " << in_place
                                     << ": " << result.worst;
          const std::size_t bytes = static_cast<std::size_t>(kK * kDim) * size_of(dtype);
          for (std::int64_t t = 0; t < kTokens; ++t)
            EXPECT_EQ(std::memcmp(qkv.view().slice(1, kQ + kK, kQ + 2 * kK).select(0, t).data,
                                  before.view().slice(1, kQ + kK, kQ + 2 * kK).select(0, t).data, bytes),
                      0)
                << "v of token " << t;
        }
}

// Both calls give the bits of the out-of-place one, at every level and number of threads.
TEST(Rope, InPlaceAndThreadsDoNotChangeBits) {
  const int threads = num_threads();
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    const Tensor q = random_tensor(Dtype::kBf16, {300, 8, 128}, 1),
                 k = random_tensor(Dtype::kBf16, {300, 2, 128}, 2);
    const Tensor q_out = poisoned(Dtype::kBf16, {300, 8, 128}), k_out = poisoned(Dtype::kBf16, {300, 2, 128});
    std::vector<std::int32_t> indptr = {0, 100, 100, 300}, offsets = {7, 0, 12345};
    RopeArgs args{.q = q,
                  .k = k,
                  .indptr = TensorView::of(indptr),
                  .offsets = TensorView::of(offsets),
                  .q_out = q_out,
                  .k_out = k_out};
    set_num_threads(1);
    apply_rope(args);
    set_num_threads(2);
    args.q_out = args.q;
    args.k_out = args.k;
    apply_rope(args);
    EXPECT_TRUE(same_bytes(q, q_out) && same_bytes(k, k_out)) << cpu::name(isa);
  }
  set_num_threads(threads);
}

// Large enough that the kernel writes past the caches.
TEST(Rope, MatchesTheReferenceWhenItStreams) {
  for (cpu::Isa isa : test::isa_levels())
    for (const char* routine : {"apply_rope", "apply_rope_pos_ids"}) {
      const test::ScopedIsa scoped(isa);
      const op::NamedRoutine found = op::find_routine(routine);
      op::Case parameters(found.routine.parameters);
      parameters.set("nnz", "5000");
      parameters.set("interleave", routine == std::string("apply_rope") ? "true" : "false");
      parameters.set("rotary_dim", "64");
      op::Random random(5);
      op::Problem problem = found.routine.make(*found.op, parameters, random);
      const op::Expected expected = op::expect(*found.op, problem.args.get(), problem.axes, 64, random);
      problem.run();
      const op::CheckResult result = op::compare(*found.op, problem.args.get(), problem.axes, expected);
      EXPECT_TRUE(result.passed) << routine << " at " << cpu::name(isa) << ": " << result.worst;
    }
}

TEST(Rope, NanAndInfStayInTheirPair) {
  for (cpu::Isa isa : test::isa_levels())
    for (bool interleave : {false, true}) {
      const test::ScopedIsa scoped(isa);
      Example example(Dtype::kF32, 70);
      example.q.as<float>()[3] = std::numeric_limits<float>::quiet_NaN();
      example.q.as<float>()[70 + 68] = std::numeric_limits<float>::infinity();
      RopePosIdsArgs args = example.args();
      args.rotary_dim = 66;
      args.interleave = interleave;
      const op::CheckResult result =
          check_call("apply_rope_pos_ids", args, [](const RopePosIdsArgs& a) { apply_rope_pos_ids(a); });
      EXPECT_TRUE(result.passed) << result.worst;
      const int partner = interleave ? 2 : 3 + 33;
      for (int j = 0; j < 70; ++j)
        EXPECT_EQ(std::isnan(example.q_out.as<float>()[j]), j == 3 || j == partner) << j;
      EXPECT_TRUE(std::isinf(example.q_out.as<float>()[70 + 68]));  // beyond rotary_dim
    }
}

TEST(Rope, ReadsAndWritesNothingBeyondTheLastRow) {
  for (cpu::Isa isa : test::isa_levels())
    for (Dtype dtype : kFloatDtypes)
      for (std::int64_t head_dim : {2, 18, 30, 64, 70})
        for (bool interleave : {false, true}) {
          const test::ScopedIsa scoped(isa);
          const std::size_t bytes = static_cast<std::size_t>(head_dim) * size_of(dtype);
          const test::GuardedMemory q(bytes), k(bytes), q_out(bytes), k_out(bytes),
              table(static_cast<std::size_t>(head_dim) * 4);
          const auto view = [&](const test::GuardedMemory& memory) {
            return TensorView(memory.data(), dtype, {1, 1, head_dim});
          };
          std::int32_t position = 0;
          const TensorView positions(&position, Dtype::kI32, {1}),
              cache(table.data(), Dtype::kF32, {1, head_dim});
          apply_rope_with_cos_sin_cache({.q = view(q),
                                         .k = view(k),
                                         .positions = positions,
                                         .cos_sin_cache = cache,
                                         .q_out = view(q_out),
                                         .k_out = view(k_out),
                                         .interleave = interleave});
          apply_rope_pos_ids({.q = view(q),
                              .k = view(k),
                              .pos_ids = positions,
                              .q_out = view(q_out),
                              .k_out = view(k_out),
                              .interleave = interleave});
        }
}

// Mistakes that a correct check must see.
TEST(RopeNegativeControl, AShiftedPositionFails) {
  for (Dtype dtype : kFloatDtypes) {
    Example example(dtype);
    EXPECT_FALSE(check_call("apply_rope_pos_ids", example.args(), [&](const RopePosIdsArgs& args) {
                   ++example.pos_ids[2];
                   apply_rope_pos_ids(args);
                 }).passed);
  }
}

TEST(RopeNegativeControl, SwappedHeadsFail) {
  Example example(Dtype::kBf16);
  EXPECT_FALSE(check_call("apply_rope_pos_ids", example.args(), [&](RopePosIdsArgs args) {
                 args.k_out = args.k_out.slice(1, 1, 2);
                 args.k = args.k.slice(1, 0, 1);
                 apply_rope_pos_ids(args);
                 args.k_out.data = example.k_out.view().data;
                 args.k = example.k.view().slice(1, 1, 2);
                 apply_rope_pos_ids(args);
               }).passed);
}

TEST(RopeNegativeControl, OtherPairsFail) {
  Example example(Dtype::kBf16);
  EXPECT_FALSE(check_call("apply_rope_pos_ids", example.args(), [&](RopePosIdsArgs args) {
                 args.interleave = true;
                 apply_rope_pos_ids(args);
               }).passed);
}

// f32 arithmetic on the angle, as many implementations do it, is not good enough at this position.
TEST(RopeNegativeControl, AnAngleInF32Fails) {
  Example example(Dtype::kF32, 128);
  example.pos_ids = {1'000'000, 999'983, 777'777, 555'555, 123'457};
  EXPECT_FALSE(check_call("apply_rope_pos_ids", example.args(), [&](const RopePosIdsArgs& args) {
                 std::vector<float> table;
                 const std::vector<float> inv_freq = rope_inv_freq(128, {});
                 for (std::int32_t position : example.pos_ids)
                   for (int part = 0; part < 2; ++part)
                     for (float frequency : inv_freq) {
                       const float angle = static_cast<float>(position) * frequency;
                       table.push_back(part == 0 ? std::cos(angle) : std::sin(angle));
                     }
                 std::vector<std::int32_t> rows = {0, 1, 2, 3, 4};
                 apply_rope_with_cos_sin_cache(
                     {.q = args.q,
                      .k = args.k,
                      .positions = TensorView::of(rows),
                      .cos_sin_cache = TensorView(table.data(), Dtype::kF32, {5, 128}),
                      .q_out = args.q_out,
                      .k_out = args.k_out});
               }).passed);
}

TEST(RopeInvFreq, IsTheFormula) {
  const std::vector<float> plain = rope_inv_freq(128, {.scale = 2, .theta = 10000});
  ASSERT_EQ(plain.size(), 64u);
  for (int i = 0; i < 64; ++i)
    EXPECT_FLOAT_EQ(plain[static_cast<std::size_t>(i)], static_cast<float>(std::pow(10000.0, -i / 64.0) / 2));
  // Llama 3.1, computed apart with 30 digits: unchanged, in between, divided by eight.
  const std::vector<float> llama = rope_inv_freq(128, kLlama31RopeScaling);
  const std::pair<int, float> kKnown[] = {{0, 1.0f},
                                          {20, 0.01656044008f},
                                          {31, 0.0008567514129f},
                                          {33, 0.0003126937504f},
                                          {35, 9.556212354e-5f},
                                          {63, 3.068925989e-7f}};
  for (const auto& [i, value] : kKnown) EXPECT_FLOAT_EQ(llama[static_cast<std::size_t>(i)], value) << i;
  EXPECT_TRUE(rope_inv_freq(0, {}).empty());
  for (int rotary_dim : {-2, 7, 514})
    EXPECT_THAT(error_message([&] { rope_inv_freq(rotary_dim, {}); }),
                HasSubstr("rope_inv_freq: rotary_dim: expected an even number from 0 to 512, got"));
}

TEST(RopeErrors, PositionIdsNameArgumentExpectationAndFinding) {
  Example example(Dtype::kBf16);
  const auto message = [&](auto change) {
    RopePosIdsArgs args = example.args();
    change(args);
    return error_message([&] { apply_rope_pos_ids(args); });
  };
  const Tensor f16(Dtype::kF16, {5, 2, 64}), four(Dtype::kBf16, {4, 2, 64}), matrix(Dtype::kBf16, {5, 64});
  std::vector<float> real(5);
  std::vector<std::int32_t> short_ids(4);
  EXPECT_THAT(message([&](auto& a) { a.rotary_dim = 7; }),
              HasSubstr("rotary_dim: expected an even rotary_dim of at most head_dim = 64 and 512, got 7"));
  EXPECT_THAT(message([&](auto& a) { a.rotary_dim = 66; }),
              HasSubstr("rotary_dim: expected an even rotary_dim of at most head_dim = 64 and 512, got 66"));
  EXPECT_THAT(message([&](auto& a) { a.rotary_dim = -2; }),
              HasSubstr("rotary_dim: expected a value in [0, 512], got -2"));
  EXPECT_THAT(message([&](auto& a) { a.scaling.scale = 0; }), HasSubstr("rope_scale: expected a value in"));
  EXPECT_THAT(message([&](auto& a) { a.scaling.theta = std::nanf(""); }),
              HasSubstr("rope_theta: expected a value in [1, "));
  EXPECT_THAT(message([&](auto& a) { a.scaling.high_freq_factor = 1; }),
              HasSubstr("high_freq_factor: expected more than low_freq_factor = 1, got 1"));
  EXPECT_THAT(message([&](auto& a) { a.k = f16; }),
              HasSubstr("k: expected dtype bf16 (that of q), got f16[5, 2, 64]"));
  EXPECT_THAT(message([&](auto& a) { a.k = four; }), HasSubstr("k: expected shape [nnz = 5, num_kv_heads"));
  EXPECT_THAT(message([&](auto& a) { a.q = matrix; }),
              HasSubstr("q: expected 3 axes [nnz, num_qo_heads, head_dim], got bf16[5, 64]"));
  EXPECT_THAT(message([&](auto& a) {
                a.q = a.q.permute({0, 2, 1});
              }),
              HasSubstr("q: expected stride 1 on the innermost axis"));
  EXPECT_THAT(message([&](auto& a) { a.pos_ids = TensorView::of(real); }),
              HasSubstr("pos_ids: expected dtype i32 or i64, got f32[5]"));
  EXPECT_THAT(message([&](auto& a) { a.pos_ids = TensorView::of(short_ids); }),
              HasSubstr("pos_ids: expected shape [nnz = 5], got i32[4]"));
  EXPECT_THAT(message([&](auto& a) { a.k_out = TensorView(); }), HasSubstr("k_out: expected [nnz = 5"));
  EXPECT_THAT(message([&](auto& a) {
                a.q_out = a.q.slice(0, 1, 5), a.q = a.q.slice(0, 0, 4), a.k = a.k.slice(0, 0, 4),
                a.k_out = a.k_out.slice(0, 0, 4), a.pos_ids = a.pos_ids.slice(0, 0, 4);
              }),
              HasSubstr("q_out: expected memory apart from q or exactly its view"));
  EXPECT_THAT(message([&](auto& a) {
                a.q.device = {DeviceType::kCuda, 0};
              }),
              HasSubstr("k: expected device cuda:0 (that of q)"));
}

TEST(RopeErrors, OffsetsAndTablesNameElements) {
  Example example;
  const auto ragged = [&](std::vector<std::int32_t> indptr) {
    example.indptr = std::move(indptr);
    return error_message([&] { apply_rope(example.ragged_args()); });
  };
  EXPECT_THAT(ragged({1, 1, 2, 3, 4, 5}), HasSubstr("apply_rope: indptr: expected indptr[0] = 0, got 1"));
  EXPECT_THAT(
      ragged({0, 3, 2, 3, 4, 5}),
      HasSubstr("apply_rope: indptr: expected values that do not decrease, got indptr[2] = 2 after 3"));
  EXPECT_THAT(ragged({0, 1, 2, 3, 4, 6}),
              HasSubstr("apply_rope: indptr: expected indptr[batch_size = 5] = nnz = 5, got 6"));

  const Tensor table(Dtype::kF32, {10, 64}), wide(Dtype::kF32, {10, 66});
  std::vector<std::int32_t> positions = {0, 1, 9, 3, 4};
  RopeCosSinCacheArgs args{.q = example.q,
                           .k = example.k,
                           .positions = TensorView::of(positions),
                           .cos_sin_cache = table,
                           .q_out = example.q_out,
                           .k_out = example.k_out};
  apply_rope_with_cos_sin_cache(args);
  positions[2] = 10;
  EXPECT_THAT(error_message([&] { apply_rope_with_cos_sin_cache(args); }),
              HasSubstr("apply_rope_with_cos_sin_cache: positions: expected values in [0, max_position = "
                        "10), got positions[2] = 10"));
  positions[2] = -1;
  EXPECT_THAT(error_message([&] { apply_rope_with_cos_sin_cache(args); }),
              HasSubstr("got positions[2] = -1"));
  positions[2] = 2;
  args.cos_sin_cache = wide;
  EXPECT_THAT(
      error_message([&] { apply_rope_with_cos_sin_cache(args); }),
      HasSubstr("cos_sin_cache: expected an even rotary_dim of at most head_dim = 64 and 512, got 66"));
}

}  // namespace
}  // namespace strobe
