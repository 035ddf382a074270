#include <vector>

#include "ops/page_cuda.h"
#include "strobe/page.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::check_on_gpu;
using test::expect_routine_matches_on_gpu;
using test::Layout;

using Indices = std::vector<std::int32_t>;

class CudaPage : public test::GpuTest {};

Tensor random_tensor(Dtype dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed) {
  Tensor tensor(dtype, shape);
  op::Random random(seed);
  op::fill_normal(tensor, random);
  return tensor;
}

TEST_F(CudaPage, AppendMatchesTheReferenceOverDtypesLayoutsAndPageSizes) {
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
            expect_routine_matches_on_gpu("append_paged_kv_cache", {{"nnz", "13"},
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

TEST_F(CudaPage, AppendMatchesTheReferenceOnManyTokens) {
  for (const char* layout : {"NHD", "HND"})
    for (const char* cache_dtype : {"bf16", "e4m3"})
      expect_routine_matches_on_gpu("append_paged_kv_cache", {{"nnz", "3001"},
                                                              {"num_pages", "250"},
                                                              {"num_kv_indices", "250"},
                                                              {"dtype", "bf16"},
                                                              {"k_cache_dtype", cache_dtype},
                                                              {"kv_layout", layout}});
}

TEST_F(CudaPage, MlaAppendMatchesTheReference) {
  for (const char* dtype : {"f32", "bf16"})
    for (const char* cache_dtype : {dtype, "e4m3", "e5m2"})
      for (const auto& [ckv_dim, kpe_dim] : {std::pair{"512", "64"}, {"40", "9"}})
        expect_routine_matches_on_gpu("append_paged_mla_kv_cache",
                                      {{"nnz", "13"},
                                       {"batch_size", "3"},
                                       {"num_pages", "25"},
                                       {"num_kv_indices", "20"},
                                       {"page_size", "16"},
                                       {"ckv_dim", ckv_dim},
                                       {"kpe_dim", kpe_dim},
                                       {"dtype", dtype},
                                       {"ckv_cache_dtype", cache_dtype},
                                       {"ckv_scale", std::string(dtype) == cache_dtype ? "1" : "0.5"}});
}

TEST_F(CudaPage, AppendWorksStridedMisalignedAndInAGraph) {
  for (const char* layout : {"NHD", "HND"}) {
    const test::Values values = {
        {"nnz", "21"},         {"batch_size", "3"}, {"num_pages", "25"},   {"num_kv_indices", "20"},
        {"num_kv_heads", "2"}, {"head_dim", "64"},  {"head_dim_vo", "64"}, {"kv_layout", layout}};
    expect_routine_matches_on_gpu("append_paged_kv_cache", values, Layout::kStrided);
    expect_routine_matches_on_gpu("append_paged_kv_cache", values, Layout::kDense, {.graph = true});
    for (std::size_t shift : {4, 8})
      expect_routine_matches_on_gpu("append_paged_kv_cache", values, Layout::kDense, {.shift = shift});
  }
}

// Two requests with 7 and 3 tokens in pages of 4, of which the last 3 and 2 are appended, and padding.
struct Example {
  Indices batch_indices = {0, 0, 0, 1, 1, -1}, positions = {4, 5, 6, 1, 2, -1};
  Indices kv_indices = {5, 2, 3}, kv_indptr = {0, 2, 3}, kv_last_page_len = {3, 3};
  Tensor key = random_tensor(Dtype::kF32, {6, 3, 24}, 1), value = random_tensor(Dtype::kF32, {6, 3, 24}, 2);
  Tensor k_cache, v_cache;
  explicit Example(Dtype cache_dtype)
      : k_cache(random_tensor(cache_dtype, {6, 4, 3, 24}, 3)),
        v_cache(random_tensor(cache_dtype, {6, 4, 3, 24}, 4)) {}
  AppendPagedKvCacheArgs args() {
    return {.append_key = key,
            .append_value = value,
            .batch_indices = TensorView::of(batch_indices),
            .positions = TensorView::of(positions),
            .k_cache = k_cache,
            .v_cache = v_cache,
            .kv_indices = TensorView::of(kv_indices),
            .kv_indptr = TensorView::of(kv_indptr),
            .kv_last_page_len = TensorView::of(kv_last_page_len)};
  }
};

TEST_F(CudaPage, QuantisesSpecialValuesByRule) {
  constexpr float kInf = std::numeric_limits<float>::infinity(),
                  kNan = std::numeric_limits<float>::quiet_NaN();
  for (Dtype cache_dtype : {Dtype::kE4m3, Dtype::kE5m2}) {
    Example example(cache_dtype);
    const float special[] = {kInf, -kInf, kNan, 1e30f, -1e30f, 0.0f, -0.0f, 1e-30f, 224.0f};
    std::memcpy(example.key.as<float>(), special, sizeof special);
    AppendPagedKvCacheArgs args = example.args();
    args.k_scale = 0.5f;
    const op::CheckResult result = check_on_gpu("append_paged_kv_cache", args);
    EXPECT_TRUE(result.passed) << name(cache_dtype) << ": " << result.worst;
    const std::uint8_t* stored =
        &example.k_cache.view().at<std::uint8_t>(2, 0, 0, 0);  // position 4 of request 0
    const bool e4m3 = cache_dtype == Dtype::kE4m3;
    const int expected[] = {
        e4m3 ? 0x7e : 0x7c, e4m3 ? 0xfe : 0xfc, -1, e4m3 ? 0x7e : 0x7b, e4m3 ? 0xfe : 0xfb, 0x00, 0x80, 0x00};
    for (std::size_t i = 0; i < std::size(expected); ++i)
      if (expected[i] >= 0) EXPECT_EQ(stored[i], expected[i]) << name(cache_dtype) << " " << i;
    EXPECT_GT(stored[2] & 0x7f, e4m3 ? 0x7e : 0x7c) << "NaN";
  }
}

// Every f32 whose upper 16 bits differ, through the conversion of an fp8 cache.
TEST_F(CudaPage, ConvertsEveryKindOfNumberAsTheHostDoes) {
  for (Dtype cache_dtype : {Dtype::kE4m3, Dtype::kE5m2}) {
    constexpr std::int64_t kTokens = 256, kDim = 256;
    Tensor key(Dtype::kF32, {kTokens, 1, kDim});
    for (std::uint32_t i = 0; i < kTokens * kDim; ++i)
      key.as<std::uint32_t>()[i] = i << 16 | (i * 2654435761u >> 20);
    Indices batch_indices(kTokens, 0), positions(kTokens), kv_indices = {0}, kv_indptr = {0, 1},
                                                           last = {kTokens};
    for (std::int32_t t = 0; t < kTokens; ++t) positions[static_cast<std::size_t>(t)] = t;
    const Tensor k_cache(cache_dtype, {1, kTokens, 1, kDim}), v_cache(cache_dtype, {1, kTokens, 1, kDim});
    const AppendPagedKvCacheArgs args{.append_key = key,
                                      .append_value = key,
                                      .batch_indices = TensorView::of(batch_indices),
                                      .positions = TensorView::of(positions),
                                      .k_cache = k_cache,
                                      .v_cache = v_cache,
                                      .kv_indices = TensorView::of(kv_indices),
                                      .kv_indptr = TensorView::of(kv_indptr),
                                      .kv_last_page_len = TensorView::of(last)};
    test::run_on_gpu(*op::registry().find("append_paged_kv_cache"),
                     const_cast<AppendPagedKvCacheArgs*>(&args), "convert", {},
                     [&](Stream stream) { append_paged_kv_cache(args, stream); });
    int wrong = 0;
    for (std::int64_t i = 0; i < kTokens * kDim; ++i) {
      const float x = key.as<float>()[i];
      const std::uint8_t got = k_cache.as<std::uint8_t>()[i];
      const std::uint8_t want = cache_dtype == Dtype::kE4m3 ? E4m3(x).bits : E5m2(x).bits;
      const bool same =
          std::isnan(x) ? (got & 0x7f) > (cache_dtype == Dtype::kE4m3 ? 0x7e : 0x7c) : got == want;
      if (!same && ++wrong < 5)
        ADD_FAILURE() << name(cache_dtype) << " of " << x << ": got " << int{got} << ", expected "
                      << int{want};
    }
    EXPECT_EQ(wrong, 0);
  }
}

// What the host would have rejected writes nothing.
TEST_F(CudaPage, TokensWithoutAPlaceAreNotWritten) {
  Example example(Dtype::kF32);
  example.batch_indices = {0, 0, 2, 1, 1, 1};
  example.positions = {4, 8, 0, -5, 4, 2};
  example.kv_indices = {5, 2, 6};  // page 6 does not exist
  const Tensor before = example.k_cache.clone();
  AppendPagedKvCacheArgs args = example.args();
  const op::Operator& op = *op::registry().find("append_paged_kv_cache");
  test::run_on_gpu(op, &args, "no place", {}, [&](Stream stream) { append_paged_kv_cache(args, stream); });
  for (std::int64_t page = 0; page < 6; ++page)
    for (std::int64_t slot = 0; slot < 4; ++slot) {
      const bool written = page == 2 && slot == 0;
      const TensorView row = example.k_cache.view().select(0, page).select(0, slot);
      const TensorView old =
          (written ? example.key.view().select(0, 0) : before.view().select(0, page).select(0, slot));
      EXPECT_EQ(std::memcmp(row.data, old.data, 3 * 24 * sizeof(float)), 0) << page << " " << slot;
    }
}

TEST_F(CudaPage, AnotherSlotFailsTheCheck) {
  Example example(Dtype::kF32);
  AppendPagedKvCacheArgs args = example.args();
  const op::Operator& op = *op::registry().find("append_paged_kv_cache");
  op::Axes axes;
  op::validate(op, &args, op::Phase::kRun, axes);
  op::Random random(1);
  const op::Expected expected = op::expect(op, &args, axes, 1 << 20, random);
  example.positions[4] = 3;
  test::run_on_gpu(op, &args, "a wrong slot", {},
                   [&](Stream stream) { append_paged_kv_cache(args, stream); });
  EXPECT_FALSE(op::compare(op, &args, axes, expected).passed);
}

TEST_F(CudaPage, IndexArraysMatchTheReference) {
  for (const char* batch_size : {"1", "7", "300"})
    for (const char* nnz : {"1", "100", "5000"})
      expect_routine_matches_on_gpu("get_batch_indices_positions",
                                    {{"batch_size", batch_size}, {"nnz", nnz}});
  for (const char* batch_size : {"1", "7", "300"})
    expect_routine_matches_on_gpu("get_seq_lens", {{"batch_size", batch_size}, {"page_size", "16"}});
  Indices append_indptr = {0, 2, 2, 5}, seq_lens = {9, 4, 3}, batch_indices(8),
          positions(8);  // three of padding
  const op::CheckResult result = check_on_gpu(
      "get_batch_indices_positions", BatchIndicesPositionsArgs{.append_indptr = TensorView::of(append_indptr),
                                                               .seq_lens = TensorView::of(seq_lens),
                                                               .batch_indices = TensorView::of(batch_indices),
                                                               .positions = TensorView::of(positions)});
  EXPECT_TRUE(result.passed) << result.worst;
  EXPECT_EQ(positions, (Indices{7, 8, 0, 1, 2, -1, -1, -1}));
}

// Without a GPU: every vector of every token belongs to a thread.
TEST(CudaAppendChoice, CoversEveryToken) {
  for (std::int64_t tokens : {1, 13, 256, 32768})
    for (std::int64_t first : {1, 3, 256, 1000, 100000})
      for (std::int64_t second : {std::int64_t{0}, std::int64_t{8}, first}) {
        const op::AppendChoice choice = op::choose_append(tokens, {first, second}, 132);
        EXPECT_GE(choice.token_threads[0], first);
        EXPECT_GE(choice.token_threads[1], second);
        EXPECT_GE(choice.first_blocks * 256, tokens * choice.token_threads[0]);
        if (choice.pair) {
          EXPECT_EQ(choice.blocks, choice.first_blocks);
          EXPECT_EQ(choice.token_threads[0], choice.token_threads[1]);
        } else {
          EXPECT_GE((choice.blocks - choice.first_blocks) * 256, tokens * choice.token_threads[1]);
        }
      }
  EXPECT_FALSE(op::choose_append(256, {128, 128}, 132).pair);
  EXPECT_TRUE(op::choose_append(32768, {128, 128}, 132).pair);
}

}  // namespace
}  // namespace strobe
