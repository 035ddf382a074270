#include "strobe/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "op/random.h"
#include "support/call_check.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::check_call;
using test::error_message;
using test::expect_matches_reference;
using testing::ElementsAre;
using testing::HasSubstr;

using Indices = std::vector<std::int32_t>;

Tensor random_tensor(Dtype dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed) {
  Tensor tensor(dtype, shape);
  op::Random random(seed);
  op::fill_normal(tensor, random);
  return tensor;
}

// Any bits at all, NaN with payloads among them.
Tensor random_bits(Dtype dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed) {
  Tensor tensor(dtype, shape);
  op::Random random(seed);
  for (std::int64_t i = 0; i < tensor.view().bytes(); ++i)
    tensor.as<std::uint8_t>()[i] = static_cast<std::uint8_t>(random.next());
  return tensor;
}

// Two requests with 7 and 3 tokens in pages of 4, of which the last 3 and 2 are appended, and one token of
// padding. Both caches are parts of one tensor [pages, 2, …], as engines allocate them.
struct Example {
  static constexpr std::int64_t kPages = 6, kPageSize = 4, kHeads = 3, kDim = 24;
  Indices batch_indices = {0, 0, 0, 1, 1, -1}, positions = {4, 5, 6, 1, 2, -1};
  Indices kv_indices = {5, 2, 3}, kv_indptr = {0, 2, 3}, kv_last_page_len = {3, 3};
  KvLayout layout;
  Tensor qkv, cache;

  explicit Example(KvLayout kv_layout = KvLayout::kNhd, Dtype dtype = Dtype::kBf16,
                   Dtype cache_dtype = Dtype::kBf16)
      : layout(kv_layout),
        qkv(random_tensor(dtype, {6, 4 * kHeads, kDim}, 1)),
        cache(kv_layout == KvLayout::kNhd
                  ? random_tensor(cache_dtype, {kPages, 2, kPageSize, kHeads, kDim}, 2)
                  : random_tensor(cache_dtype, {kPages, 2, kHeads, kPageSize, kDim}, 2)) {}
  AppendPagedKvCacheArgs args() {
    return {.append_key = qkv.view().slice(1, 2 * kHeads, 3 * kHeads),
            .append_value = qkv.view().slice(1, 3 * kHeads, 4 * kHeads),
            .batch_indices = TensorView::of(batch_indices),
            .positions = TensorView::of(positions),
            .k_cache = cache.view().select(1, 0),
            .v_cache = cache.view().select(1, 1),
            .kv_indices = TensorView::of(kv_indices),
            .kv_indptr = TensorView::of(kv_indptr),
            .kv_last_page_len = TensorView::of(kv_last_page_len),
            .kv_layout = layout};
  }
};

op::CheckResult check_append(const AppendPagedKvCacheArgs& args) {
  return check_call("append_paged_kv_cache", args,
                    [](const AppendPagedKvCacheArgs& a) { append_paged_kv_cache(a); });
}

TEST(AppendPagedKvCache, MatchesTheReferenceOverDtypesLayoutsAndPageSizes) {
  const std::pair<const char*, const char*> kDims[] = {
      {"128", "128"}, {"192", "128"}, {"20", "36"}, {"7", "1"}};
  for (const char* dtype : {"f32", "f16", "bf16", "e4m3", "e5m2"})
    for (const char* cache_dtype : {"f32", "f16", "bf16", "e4m3", "e5m2"})
      for (const char* layout : {"NHD", "HND"})
        for (const char* page_size : {"1", "3", "16"})
          for (const auto& [head_dim, head_dim_vo] : kDims) {
            const bool same = std::string(dtype) == cache_dtype,
                       to_fp8 = cache_dtype[0] == 'e' && dtype[0] != 'e';
            if (!same && !to_fp8) continue;
            expect_matches_reference("append_paged_kv_cache", {{"nnz", "13"},
                                                               {"batch_size", "3"},
                                                               {"num_pages", "25"},
                                                               {"num_kv_indices", "20"},
                                                               {"page_size", page_size},
                                                               {"num_kv_heads", "3"},
                                                               {"head_dim", head_dim},
                                                               {"head_dim_vo", head_dim_vo},
                                                               {"dtype", dtype},
                                                               {"k_cache_dtype", cache_dtype},
                                                               {"kv_layout", layout},
                                                               {"k_scale", same ? "1" : "0.03"},
                                                               {"v_scale", same ? "1" : "0.001"}});
          }
}

TEST(AppendPagedMlaKvCache, MatchesTheReference) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const char* cache_dtype : {dtype, "e4m3", "e5m2"})
      for (const char* page_size : {"1", "64"})
        for (const auto& [ckv_dim, kpe_dim] : {std::pair{"512", "64"}, {"40", "9"}}) {
          const bool same = std::string(dtype) == cache_dtype;
          expect_matches_reference("append_paged_mla_kv_cache", {{"nnz", "13"},
                                                                 {"batch_size", "3"},
                                                                 {"num_pages", "25"},
                                                                 {"num_kv_indices", "20"},
                                                                 {"page_size", page_size},
                                                                 {"ckv_dim", ckv_dim},
                                                                 {"kpe_dim", kpe_dim},
                                                                 {"dtype", dtype},
                                                                 {"ckv_cache_dtype", cache_dtype},
                                                                 {"ckv_scale", same ? "1" : "0.5"},
                                                                 {"kpe_scale", same ? "1" : "3"}});
        }
}

// The reference check covers every slot, so it also sees that nothing else of the cache changes.
TEST(AppendPagedKvCache, TakesSlicesOfAProjectionPartsOfOneCacheAndPadding) {
  for (cpu::Isa isa : test::isa_levels())
    for (KvLayout layout : {KvLayout::kNhd, KvLayout::kHnd})
      for (const auto& [dtype, cache_dtype] : {std::pair{Dtype::kBf16, Dtype::kBf16},
                                               {Dtype::kF32, Dtype::kF32},
                                               {Dtype::kF16, Dtype::kE4m3},
                                               {Dtype::kF32, Dtype::kE5m2}}) {
        const test::ScopedIsa scoped(isa);
        Example example(layout, dtype, cache_dtype);
        const op::CheckResult result = check_append(example.args());
        EXPECT_TRUE(result.passed) << cpu::name(isa) << " " << name(dtype) << " to " << name(cache_dtype)
                                   << ": " << result.worst;
      }
}

TEST(AppendPagedKvCache, CopiesBits) {
  for (cpu::Isa isa : test::isa_levels())
    for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBf16, Dtype::kE4m3, Dtype::kE5m2}) {
      const test::ScopedIsa scoped(isa);
      const std::int64_t dim = 37, heads = 2;
      const Tensor key = random_bits(dtype, {1, heads, dim}, 1),
                   value = random_bits(dtype, {1, heads, dim}, 2);
      const Tensor k_cache = random_bits(dtype, {1, heads, 3, dim}, 3),
                   v_cache = random_bits(dtype, {1, heads, 3, dim}, 4);
      Indices batch_indices = {0}, positions = {1}, kv_indices = {0}, kv_indptr = {0, 1}, last = {2};
      append_paged_kv_cache({.append_key = key,
                             .append_value = value,
                             .batch_indices = TensorView::of(batch_indices),
                             .positions = TensorView::of(positions),
                             .k_cache = k_cache,
                             .v_cache = v_cache,
                             .kv_indices = TensorView::of(kv_indices),
                             .kv_indptr = TensorView::of(kv_indptr),
                             .kv_last_page_len = TensorView::of(last),
                             .kv_layout = KvLayout::kHnd});
      const std::size_t bytes = static_cast<std::size_t>(dim) * size_of(dtype);
      for (std::int64_t head = 0; head < heads; ++head) {
        EXPECT_EQ(std::memcmp(k_cache.view().select(0, 0).select(0, head).select(0, 1).data,
                              key.view().select(0, 0).select(0, head).data, bytes),
                  0);
        EXPECT_EQ(std::memcmp(v_cache.view().select(0, 0).select(0, head).select(0, 1).data,
                              value.view().select(0, 0).select(0, head).data, bytes),
                  0);
      }
    }
}

TEST(AppendPagedKvCache, QuantisesSpecialValuesByRule) {
  constexpr float kInf = std::numeric_limits<float>::infinity(),
                  kNan = std::numeric_limits<float>::quiet_NaN();
  for (cpu::Isa isa : test::isa_levels())
    for (Dtype cache_dtype : {Dtype::kE4m3, Dtype::kE5m2}) {
      const test::ScopedIsa scoped(isa);
      Example example(KvLayout::kNhd, Dtype::kF32, cache_dtype);
      const float special[] = {kInf, -kInf, kNan, 1e30f, -1e30f, 0.0f, -0.0f, 1e-30f, 224.0f};
      AppendPagedKvCacheArgs args = example.args();
      std::memcpy(args.append_key.data, special, sizeof special);
      args.k_scale = 0.5f;
      const op::CheckResult result = check_append(args);
      EXPECT_TRUE(result.passed) << cpu::name(isa) << " " << name(cache_dtype) << ": " << result.worst;
      const std::uint8_t* stored = &args.k_cache.at<std::uint8_t>(2, 0, 0, 0);  // position 4 of request 0
      if (cache_dtype == Dtype::kE4m3)
        EXPECT_THAT(std::vector(stored, stored + 9),
                    ElementsAre(0x7e, 0xfe, 0x7f, 0x7e, 0xfe, 0x00, 0x80, 0x00, 0x7e));
      else
        EXPECT_THAT(std::vector(stored, stored + 8),
                    ElementsAre(0x7c, 0xfc, 0x7e, 0x7b, 0xfb, 0x00, 0x80, 0x00));
    }
}

// Large enough that the kernel writes past the caches.
TEST(AppendPagedKvCache, MatchesTheReferenceWhenItStreams) {
  for (cpu::Isa isa : test::isa_levels())
    for (const char* layout : {"NHD", "HND"})
      for (const char* cache_dtype : {"bf16", "e4m3"}) {
        const test::ScopedIsa scoped(isa);
        const op::NamedRoutine found = op::find_routine("append_paged_kv_cache");
        op::Case parameters(found.routine.parameters);
        for (const auto& [name, value] :
             {std::pair{"nnz", "4500"}, {"kv_layout", layout}, {"k_cache_dtype", cache_dtype}})
          parameters.set(name, value);
        op::Random random(5);
        op::Problem problem = found.routine.make(*found.op, parameters, random);
        const op::Expected expected = op::expect(*found.op, problem.args.get(), problem.axes, 64, random);
        problem.run();
        const op::CheckResult result = op::compare(*found.op, problem.args.get(), problem.axes, expected);
        EXPECT_TRUE(result.passed) << layout << " " << cache_dtype << " at " << cpu::name(isa) << ": "
                                   << result.worst;
      }
}

TEST(AppendPagedKvCache, NoTokensAndNoRequestsAreNoWork) {
  for (const char* routine : {"append_paged_kv_cache", "append_paged_mla_kv_cache"})
    for (const char* batch_size : {"0", "3"}) {
      const op::NamedRoutine found = op::find_routine(routine);
      op::Case parameters(found.routine.parameters);
      for (const auto& [name, value] :
           {std::pair{"nnz", "0"}, {"batch_size", batch_size}, {"num_pages", "0"}, {"num_kv_indices", "0"}})
        parameters.set(name, value);
      op::Random random(1);
      found.routine.make(*found.op, parameters, random).run();
    }
}

TEST(AppendPagedKvCache, ReadsAndWritesNothingBeyondTheLastRow) {
  for (cpu::Isa isa : test::isa_levels())
    for (const auto& [dtype, cache_dtype] :
         {std::pair{Dtype::kBf16, Dtype::kBf16}, {Dtype::kBf16, Dtype::kE4m3}, {Dtype::kF32, Dtype::kE5m2}})
      for (std::int64_t dim : {1, 7, 16, 40, 67}) {
        const test::ScopedIsa scoped(isa);
        const auto bytes = [&](Dtype of) { return static_cast<std::size_t>(dim) * size_of(of); };
        const test::GuardedMemory key(bytes(dtype)), value(bytes(dtype)), k_cache(bytes(cache_dtype)),
            v_cache(bytes(cache_dtype));
        Indices zero = {0}, kv_indptr = {0, 1}, last = {1};
        append_paged_kv_cache({.append_key = TensorView(key.data(), dtype, {1, 1, dim}),
                               .append_value = TensorView(value.data(), dtype, {1, 1, dim}),
                               .batch_indices = TensorView::of(zero),
                               .positions = TensorView::of(zero),
                               .k_cache = TensorView(k_cache.data(), cache_dtype, {1, 1, 1, dim}),
                               .v_cache = TensorView(v_cache.data(), cache_dtype, {1, 1, 1, dim}),
                               .kv_indices = TensorView::of(zero),
                               .kv_indptr = TensorView::of(kv_indptr),
                               .kv_last_page_len = TensorView::of(last)});
      }
}

// Mistakes that a correct check must see.
template <class Change>
bool passes_with(Change change) {
  Example example;
  return check_call("append_paged_kv_cache", example.args(),
                    [&](AppendPagedKvCacheArgs args) {
                      change(example, args);
                      append_paged_kv_cache(args);
                    })
      .passed;
}

TEST(AppendNegativeControl, WrongPagePositionHeadOrScaleFails) {
  EXPECT_TRUE(passes_with([](Example&, AppendPagedKvCacheArgs&) {}));
  EXPECT_FALSE(passes_with([](Example& e, AppendPagedKvCacheArgs&) { e.kv_indices[1] = 4; }));
  EXPECT_FALSE(passes_with([](Example& e, AppendPagedKvCacheArgs&) { e.positions[4] = 3; }));
  EXPECT_FALSE(passes_with([](Example& e, AppendPagedKvCacheArgs&) { e.batch_indices[3] = 0; }));
  EXPECT_FALSE(
      passes_with([](Example& e, AppendPagedKvCacheArgs&) { e.batch_indices[5] = 0, e.positions[5] = 0; }));
  EXPECT_FALSE(
      passes_with([](Example& e, AppendPagedKvCacheArgs& a) { a.append_key = e.qkv.view().slice(1, 5, 8); }));
  EXPECT_FALSE(
      passes_with([](Example&, AppendPagedKvCacheArgs& a) { std::swap(a.append_key, a.append_value); }));
  Example example(KvLayout::kNhd, Dtype::kBf16, Dtype::kE4m3);
  EXPECT_FALSE(check_call("append_paged_kv_cache", example.args(), [](AppendPagedKvCacheArgs args) {
                 args.v_scale = 0.8f;
                 append_paged_kv_cache(args);
               }).passed);
}

template <class Change>
std::string append_error(Change change) {
  Example example;
  AppendPagedKvCacheArgs args = example.args();
  change(example, args);
  const Tensor before = example.cache.clone();
  const std::string message = error_message([&] { append_paged_kv_cache(args); });
  EXPECT_EQ(std::memcmp(before.view().data, example.cache.view().data,
                        static_cast<std::size_t>(before.view().bytes())),
            0)
      << message;
  return message;
}

TEST(AppendErrors, IndexArraysNameRequestAndElement) {
  using Args = AppendPagedKvCacheArgs;
  EXPECT_THAT(append_error([](Example& e, Args&) { e.kv_indptr[0] = -1; }),
              HasSubstr("append_paged_kv_cache: kv_indptr: expected kv_indptr[0] of at least 0, got -1"));
  EXPECT_THAT(append_error([](Example& e, Args&) {
                e.kv_indptr = {0, 4, 3};
              }),
              HasSubstr("kv_indptr: expected values that do not decrease, got kv_indptr[2] = 3 after 4"));
  EXPECT_THAT(append_error([](Example& e, Args&) { e.kv_indptr[2] = 4; }),
              HasSubstr("kv_indptr: expected values up to num_kv_indices = 3, got kv_indptr[2] = 4"));
  EXPECT_THAT(
      append_error([](Example& e, Args&) { e.kv_last_page_len[1] = 0; }),
      HasSubstr(
          "kv_last_page_len: expected a value in [1, page_size = 4] for request 1 with 1 pages, got 0"));
  EXPECT_THAT(
      append_error([](Example& e, Args&) { e.kv_last_page_len[0] = 5; }),
      HasSubstr(
          "kv_last_page_len: expected a value in [1, page_size = 4] for request 0 with 2 pages, got 5"));
  EXPECT_THAT(
      append_error([](Example& e, Args&) { e.batch_indices[4] = 2; }),
      HasSubstr("batch_indices: expected values in [0, batch_size = 2) or -1, got batch_indices[4] = 2"));
  EXPECT_THAT(append_error([](Example& e, Args&) { e.batch_indices[4] = -2; }),
              HasSubstr("or -1, got batch_indices[4] = -2"));
  EXPECT_THAT(append_error([](Example& e, Args&) { e.positions[0] = -7; }),
              HasSubstr("positions: expected values of at least 0, or -1, got positions[0] = -7"));
  EXPECT_THAT(
      append_error([](Example& e, Args&) { e.positions[2] = 8; }),
      HasSubstr("positions: expected values below 8 for request 0 (its 2 pages of 4), got positions[2] = 8"));
  EXPECT_THAT(append_error([](Example& e, Args&) { e.kv_indices[1] = 6; }),
              HasSubstr("kv_indices: expected pages in [0, num_pages = 6), got kv_indices[1] = 6 (page 1 of "
                        "request 0, where token 0 goes)"));
  EXPECT_THAT(append_error([](Example& e, Args&) { e.kv_indices[2] = -1; }),
              HasSubstr("got kv_indices[2] = -1 (page 0 of request 1, where token 3 goes)"));
  EXPECT_THAT(
      append_error([](Example& e, Args& a) { a.kv_indptr = TensorView::of(e.kv_indptr).slice(0, 0, 2); }),
      HasSubstr("kv_last_page_len: expected shape [batch_size = 1], got i32[2]"));
}

TEST(AppendErrors, TensorsNameArgumentExpectationAndFinding) {
  using Args = AppendPagedKvCacheArgs;
  const Tensor f16(Dtype::kF16, {6, 4, 3, 24}), other_f16(Dtype::kF16, {6, 4, 3, 24}),
      other_dim(Dtype::kBf16, {6, 4, 3, 32}), no_slots(Dtype::kBf16, {6, 0, 3, 24});
  EXPECT_THAT(
      append_error([&](Example&, Args& a) { a.k_cache = f16, a.v_cache = other_f16; }),
      HasSubstr("k_cache: expected dtype bf16 (that of the tokens), e4m3 or e5m2, got f16[6, 4, 3, 24]"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.v_cache = f16; }),
              HasSubstr("v_cache: expected dtype bf16 (that of k_cache), got f16"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.k_cache = other_dim; }),
              HasSubstr("head_dim = 24], got bf16[6, 4, 3, 32]"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.k_cache = no_slots; }),
              HasSubstr("v_cache: expected shape [num_pages = 6, page_size = 0"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.k_cache = a.v_cache = no_slots; }),
              HasSubstr("page_size: expected at least 1 token a page"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.kv_layout = KvLayout::kHnd; }),
              HasSubstr("k_cache: expected shape [num_pages = 6, num_kv_heads = 3, page_size"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.k_scale = 0.5f; }),
              HasSubstr("k_scale: expected 1, as the cache has the tokens' dtype, got 0.5"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.v_scale = 0; }),
              HasSubstr("v_scale: expected a value in"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.v_cache = a.k_cache; }),
              HasSubstr("k_cache: expected memory apart from v_cache"));
  EXPECT_THAT(
      append_error([&](Example& e, Args& a) { a.append_key = e.cache.view().select(1, 0).select(1, 0); }),
      HasSubstr("expected memory apart from append_key"));
  EXPECT_THAT(append_error([&](Example&, Args& a) { a.positions = TensorView(); }),
              HasSubstr("positions: expected [nnz = 6] of dtype i32, got nothing"));
}

TEST(BatchIndicesPositions, MatchesTheReferenceAndAKnownCase) {
  for (const char* nnz : {"1", "100"})
    for (const char* batch_size : {"0", "1", "7"})
      expect_matches_reference("get_batch_indices_positions", {{"nnz", nnz}, {"batch_size", batch_size}});
  Indices append_indptr = {0, 1, 1, 4}, seq_lens = {9, 5, 3}, batch_indices(6), positions(6);
  get_batch_indices_positions({.append_indptr = TensorView::of(append_indptr),
                               .seq_lens = TensorView::of(seq_lens),
                               .batch_indices = TensorView::of(batch_indices),
                               .positions = TensorView::of(positions)});
  EXPECT_THAT(batch_indices, ElementsAre(0, 2, 2, 2, -1, -1));
  EXPECT_THAT(positions, ElementsAre(8, 0, 1, 2, -1, -1));
}

TEST(BatchIndicesPositions, RejectsBadIndices) {
  const auto message = [](Indices append_indptr, Indices seq_lens) {
    Indices batch_indices(6), positions(6);
    return error_message([&] {
      get_batch_indices_positions({.append_indptr = TensorView::of(append_indptr),
                                   .seq_lens = TensorView::of(seq_lens),
                                   .batch_indices = TensorView::of(batch_indices),
                                   .positions = TensorView::of(positions)});
    });
  };
  EXPECT_THAT(message({1, 2, 3}, {9, 9}),
              HasSubstr("get_batch_indices_positions: append_indptr: expected append_indptr[0] = 0, got 1"));
  EXPECT_THAT(
      message({0, 2, 1}, {9, 9}),
      HasSubstr("append_indptr: expected values that do not decrease, got append_indptr[2] = 1 after 2"));
  EXPECT_THAT(message({0, 2, 7}, {9, 9}),
              HasSubstr("append_indptr: expected values up to nnz = 6, got append_indptr[2] = 7"));
  EXPECT_THAT(message({0, 2, 5}, {9, 2}),
              HasSubstr("seq_lens: expected at least the 3 tokens that request 1 appends, got 2"));
  EXPECT_THAT(message({0, 2, 5}, {9}), HasSubstr("seq_lens: expected shape [batch_size = 2], got i32[1]"));
}

TEST(SeqLens, MatchesTheReferenceAndAKnownCase) {
  for (const char* page_size : {"1", "16", "1000"})
    expect_matches_reference("get_seq_lens", {{"batch_size", "33"}, {"page_size", page_size}});
  Indices kv_indptr = {0, 3, 3, 4}, last_page_len = {2, 0, 16}, seq_lens(3);
  SeqLensArgs args{.kv_indptr = TensorView::of(kv_indptr),
                   .kv_last_page_len = TensorView::of(last_page_len),
                   .seq_lens = TensorView::of(seq_lens),
                   .page_size = 16};
  get_seq_lens(args);
  EXPECT_THAT(seq_lens, ElementsAre(34, 0, 16));
  last_page_len[0] = 0;
  EXPECT_THAT(error_message([&] { get_seq_lens(args); }),
              HasSubstr("get_seq_lens: kv_last_page_len: expected a value in [1, page_size = 16] for request "
                        "0 with 3 pages, got 0"));
  last_page_len[0] = 2;
  kv_indptr[1] = 1 << 30;
  EXPECT_THAT(error_message([&] { get_seq_lens(args); }),
              HasSubstr("get_seq_lens: kv_indptr: expected values that do not decrease, got kv_indptr[2] = 3 "
                        "after 1073741824"));
  kv_indptr = {0, 1 << 30, 1 << 30, 1 << 30};
  last_page_len = {2, 0, 0};
  EXPECT_THAT(error_message([&] { get_seq_lens(args); }),
              HasSubstr("kv_indptr: expected lengths that fit in i32, got 17179869170 tokens for request 0"));
}

}  // namespace
}  // namespace strobe
