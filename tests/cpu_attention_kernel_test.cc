// The CPU attention kernel at every ISA level of this machine against a plain FP64 reference: dtypes,
// layouts, groups, head dims, masks, transforms, tails, splits; rows that must not influence each other;
// negative controls.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "support/attention_kernel_case.h"

namespace strobe::cpu {
namespace {

using namespace kernel_test;

const std::pair<Dtype, Dtype> kDtypePairs[] = {{Dtype::kF32, Dtype::kF32},   {Dtype::kF16, Dtype::kF16},
                                               {Dtype::kBf16, Dtype::kBf16}, {Dtype::kBf16, Dtype::kE4m3},
                                               {Dtype::kBf16, Dtype::kE5m2}, {Dtype::kF16, Dtype::kE4m3},
                                               {Dtype::kF32, Dtype::kE5m2},  {Dtype::kF32, Dtype::kBf16}};

TEST(AttentionKernel, DtypesAndOutputs) {
  for (auto [q, kv] : kDtypePairs)
    for (Dtype out : {Dtype::kF32, Dtype::kF16, Dtype::kBf16})
      for (auto request : {std::pair{1, 150}, std::pair{13, 140}})
        check({.q = q, .kv = kv, .out = out, .mask = AttentionMask::kCausal, .requests = {request}});
}

TEST(AttentionKernel, Layouts) {
  for (int page_size : {0, 1, 3, 16, 64})
    for (bool hnd : {false, true})
      for (int qo : {1, 9})
        check({.page_size = page_size,
               .hnd = hnd,
               .kv_heads = 3,
               .requests = {{qo, 77}, {qo + 1, 130}, {2, 1}}});
}

TEST(AttentionKernel, GroupsAndHeadDims) {
  const std::pair<int, int> dims[] = {{64, 64},   {128, 128}, {80, 80},   {8, 8},
                                      {192, 128}, {256, 256}, {512, 512}, {72, 24}};
  for (int group : {1, 2, 3, 4, 7, 8, 16})
    for (auto [qk, vo] : dims)
      for (Dtype dtype : {Dtype::kBf16, Dtype::kF32})
        check({.q = dtype,
               .kv = dtype,
               .kv_heads = 1,
               .group = group,
               .dim_qk = qk,
               .dim_vo = vo,
               .mask = AttentionMask::kCausal,
               .requests = {{3, 70}}});
}

TEST(AttentionKernel, QueryLengths) {
  for (int qo = 1; qo <= 70; ++qo)
    check({.kv_heads = 1, .group = 3, .mask = AttentionMask::kCausal, .requests = {{qo, qo}}});
}

TEST(AttentionKernel, KvTails) {
  for (int len = 0; len <= 34; ++len)
    for (int base : {0, 112, 240})
      for (int qo : {1, 6})
        check({.page_size = 0, .kv_heads = 1, .group = 2, .requests = {{qo, base + len}}});
}

TEST(AttentionKernel, MasksAndTransforms) {
  for (AttentionMask mask : {AttentionMask::kNone, AttentionMask::kCausal, AttentionMask::kCustom})
    for (int window : {-1, 0, 20, 200})
      for (float cap : {0.0f, 3.0f})
        for (bool alibi : {false, true})
          for (bool sinks : {false, true})
            for (int qo : {1, 40})
              check({.q = Dtype::kF32,
                     .kv = Dtype::kF32,
                     .kv_heads = 1,
                     .group = 2,
                     .dim_qk = 32,
                     .dim_vo = 16,
                     .mask = mask,
                     .window_left = window,
                     .soft_cap = cap,
                     .alibi = alibi,
                     .sinks = sinks,
                     .requests = {{qo, 170}}});
}

TEST(AttentionKernel, Rope) {
  for (Dtype dtype : {Dtype::kF32, Dtype::kBf16})
    for (bool interleave : {false, true})
      for (int rotary_dim : {128, 64})
        for (int qo : {1, 40})
          check({.q = dtype,
                 .kv = dtype,
                 .kv_heads = 1,
                 .dim_qk = 128,
                 .mask = AttentionMask::kCausal,
                 .rotary_dim = rotary_dim,
                 .interleave = interleave,
                 .requests = {{qo, 300}}});
}

TEST(AttentionKernel, MoreQueriesThanKeys) {
  for (AttentionMask mask : {AttentionMask::kNone, AttentionMask::kCausal})
    for (bool sinks : {false, true})
      for (int window : {-1, 3})
        check({.mask = mask, .window_left = window, .sinks = sinks, .requests = {{40, 7}, {1, 0}, {5, 0}}});
}

TEST(AttentionKernel, SplitsMerge) {
  for (Dtype dtype : {Dtype::kBf16, Dtype::kF32})
    for (int parts : {2, 3, 7})
      for (int qo : {1, 30})
        for (bool sinks : {false, true})
          check({.q = dtype,
                 .kv = dtype,
                 .mask = AttentionMask::kCausal,
                 .sinks = sinks,
                 .requests = {{qo, 331}, {qo, 40}},
                 .parts = parts});
}

// Combinations that no list above contains.
TEST(AttentionKernel, RandomCases) {
  std::mt19937 random(7);
  const auto pick = [&](auto... values) {
    const std::common_type_t<decltype(values)...> list[] = {values...};
    return list[random() % sizeof...(values)];
  };
  for (int i = 0; i < 150; ++i) {
    const auto [q, kv] = kDtypePairs[random() % std::size(kDtypePairs)];
    const int dim = pick(8, 16, 40, 64, 80, 96, 128);
    Case c{.q = q,
           .kv = kv,
           .out = pick(Dtype::kF32, Dtype::kF16, Dtype::kBf16),
           .page_size = pick(0, 1, 3, 5, 16, 64),
           .hnd = pick(true, false),
           .kv_heads = pick(1, 2, 3, 17),
           .group = pick(1, 2, 3, 5, 8),
           .dim_qk = dim,
           .dim_vo = pick(dim, dim, 48),
           .mask = pick(AttentionMask::kNone, AttentionMask::kCausal, AttentionMask::kCustom),
           .window_left = pick(-1, -1, 5, 100),
           .soft_cap = pick(0.0f, 0.0f, 5.0f),
           .alibi = pick(false, false, true),
           .sinks = pick(false, true),
           .rotary_dim = pick(0, 0, dim / 8 * 8),
           .interleave = pick(false, true)};
    c.requests.clear();
    for (unsigned n = 1 + random() % 3; n > 0; --n)
      c.requests.push_back({pick(1, 1, 2, 5, 17, 33), static_cast<int>(random() % 300)});
    c.item_tokens = pick(1 << 20, 4, 16);
    c.parts = pick(1, 1, 2, 4);
    c.seed = 100 + static_cast<unsigned>(i);
    check(c);
  }
}

std::vector<float> values_of_codes(Dtype dtype) {
  Guarded codes(dtype, 256);
  for (int code = 0; code < 256; ++code) codes.data()[code] = static_cast<char>(code);
  std::vector<float> values;
  for (int code = 0; code < 256; ++code) values.push_back(codes.at(code));
  return values;
}

// All 256 codes of an 8-bit cache, as keys (one-hot queries make each a logit) and as values (the mean of
// two).
TEST(AttentionKernel, EveryEightBitCodeHasItsValue) {
  for (Dtype kv : {Dtype::kE4m3, Dtype::kE5m2}) {
    Data d({.kv = kv,
            .page_size = 0,
            .kv_heads = 32,
            .group = 8,
            .dim_qk = 256,
            .dim_vo = 256,
            .requests = {{1, 2}}});
    const std::vector<float> values = values_of_codes(kv);
    const auto code = [&](int token, int column) {
      const int wanted = token == 0 ? column : column ^ 1;
      return static_cast<char>(std::isfinite(values[static_cast<std::size_t>(wanted)]) ? wanted : 0);
    };
    for (int token : {0, 1})
      for (int h = 0; h < d.c.kv_heads; ++h)
        for (int column = 0; column < 256; ++column) {
          d.k->data()[d.kv_row(0, token, false) + h * d.head_stride_k + column] = code(0, column);
          d.v->data()[d.kv_row(0, token, true) + h * d.head_stride_v + column] = code(token, column);
        }
    for (int head = 0; head < 256; ++head)
      for (int column = 0; column < 256; ++column) d.q->put(d.q_row(0, 0, head) + column, column == head);
    AttentionProblem p = d.problem();
    p.sm_scale = p.v_scale = 1;
    for (int level : levels()) {
      const Result result = run(d, p, level);
      for (int column = 0; column < 256; ++column) {
        const double logit = d.k->at(d.kv_row(0, 0, false) + column) * M_LOG2E;
        const double a = d.v->at(d.kv_row(0, 0, true) + column), b = d.v->at(d.kv_row(0, 1, true) + column);
        EXPECT_NEAR(result.lse[static_cast<std::size_t>(column)], logit + 1, 1e-6 * (1 + std::abs(logit)))
            << level_name(level) << ": code " << column;
        EXPECT_NEAR(result.out[static_cast<std::size_t>(column)], (a + b) / 2,
                    1e-6 * (std::abs(a) + std::abs(b)))
            << level_name(level) << ": code " << column;
      }
    }
  }
}

// ---- Independence ----

// A row's bits do not depend on the tile it is computed in.
TEST(AttentionKernel, RowsDoNotDependOnTheirTile) {
  for (Dtype dtype : {Dtype::kBf16, Dtype::kF32})
    for (int window : {-1, 40})
      for (int rotary_dim : {0, 64}) {
        Case c{.q = dtype,
               .kv = dtype,
               .mask = AttentionMask::kCausal,
               .window_left = window,
               .rotary_dim = rotary_dim,
               .requests = {{90, 400}}};
        const Data whole(c);
        for (int tokens : {4, 7, 31}) {
          c.item_tokens = tokens;
          const Data tiled(c);
          for (int level : levels()) {
            const Result a = run(whole, whole.problem(), level), b = run(tiled, tiled.problem(), level);
            // Items of at most 8 rows take the other path: the last tile may.
            const int last = 90 % tokens * c.group <= 8 ? 90 / tokens * tokens : 90;
            const std::size_t rows = static_cast<std::size_t>(last) * whole.heads;
            EXPECT_TRUE(std::equal(a.out.begin(), a.out.begin() + rows * c.dim_vo, b.out.begin()))
                << level_name(level) << ": " << c.text();
            EXPECT_TRUE(std::equal(a.lse.begin(), a.lse.begin() + rows, b.lse.begin())) << level_name(level);
          }
        }
      }
}

// Nor on the heads that are read together with its own.
TEST(AttentionKernel, RowsDoNotDependOnOtherHeads) {
  for (Dtype dtype : {Dtype::kBf16, Dtype::kF32})
    for (bool hnd : {false, true})
      for (int rotary_dim : {0, 64}) {
        Case c{.q = dtype,
               .kv = dtype,
               .page_size = 5,
               .hnd = hnd,
               .kv_heads = 18,
               .group = 3,
               .rotary_dim = rotary_dim,
               .requests = {{1, 333}, {2, 70}, {1, 5}}};
        const Data together(c);
        for (int heads : {1, 7}) {
          c.heads_together = heads;
          const Data apart(c);
          for (int level : levels()) {
            const Result a = run(together, together.problem(), level), b = run(apart, apart.problem(), level);
            EXPECT_EQ(a.out, b.out) << level_name(level) << ": " << c.text();
            EXPECT_EQ(a.lse, b.lse) << level_name(level) << ": " << c.text();
          }
        }
      }
}

// ---- NaN and infinities ----

TEST(AttentionKernel, MaskedNanDoesNotMatter) {
  for (AttentionMask mask : {AttentionMask::kCausal, AttentionMask::kCustom})
    for (Dtype dtype : {Dtype::kBf16, Dtype::kF32})
      for (int qo : {2, 40}) {
        Data d({.q = dtype, .kv = dtype, .mask = mask, .window_left = 150, .requests = {{qo, 200}}});
        for (int t : {0, 5, 170, 198, 199})  // outside the window of late rows; in the future of early ones
          for (int i = 0; i < d.c.dim_qk; ++i) {
            d.k->put(d.kv_row(0, t, false) + i, i % 2 == 0 ? NAN : INFINITY);
            d.v->put(d.kv_row(0, t, true) + i, i % 3 == 0 ? NAN : INFINITY);
          }
        const Result expected = reference(d);
        ASSERT_TRUE(std::isfinite(expected.out[0]) || mask != AttentionMask::kCausal || qo == 2);
        for (int level : levels())
          EXPECT_LE(excess(d, run(d, d.problem(), level), expected), 1.0)
              << level_name(level) << ": " << d.c.text();
      }
}

TEST(AttentionKernel, AttendedNanPropagates) {
  for (Dtype dtype : {Dtype::kBf16, Dtype::kF32})
    for (int qo : {1, 40}) {
      Data d({.q = dtype, .kv = dtype, .mask = AttentionMask::kCausal, .requests = {{qo, 200}}});
      d.v->put(d.kv_row(0, 150, true) + 5, NAN);
      d.v->put(d.kv_row(0, 20, true) + 9, INFINITY);
      if (qo > 1) d.q->put(d.q_row(0, 3, 1) + 2, NAN);
      const Result expected = reference(d);
      ASSERT_TRUE(std::isnan(expected.out[5 + (qo - 1) * static_cast<std::size_t>(d.heads) * d.c.dim_vo]));
      ASSERT_EQ(expected.out[9], INFINITY);
      ASSERT_TRUE(std::isfinite(expected.out[10]));
      for (int level : levels())
        EXPECT_LE(excess(d, run(d, d.problem(), level), expected), 1.0)
            << level_name(level) << ": " << d.c.text();
    }
}

TEST(AttentionKernel, AttendedNonFiniteCodesPropagate) {
  for (Dtype kv : {Dtype::kE4m3, Dtype::kE5m2})
    for (int byte = 0; byte < 256; ++byte) {
      const auto code = static_cast<char>(byte);
      const float value = values_of_codes(kv)[static_cast<std::size_t>(byte)];
      if (std::isfinite(value)) continue;
      Data d({.kv = kv, .requests = {{1, 100}}});
      d.v->data()[d.kv_row(0, 70, true) + 5] = code;
      const AttentionProblem p = d.problem();
      for (int level : levels()) {
        const Result result = run(d, p, level);
        EXPECT_EQ(std::isnan(result.out[5]), std::isnan(value)) << level_name(level) << ": code " << byte;
        if (std::isinf(value)) EXPECT_EQ(result.out[5], value) << level_name(level) << ": code " << byte;
        EXPECT_TRUE(std::isfinite(result.out[4]));
      }
      d.k->data()[d.kv_row(0, 3, false) + 2] = code;
      for (int level : levels())
        if (std::isnan(value)) EXPECT_TRUE(std::isnan(run(d, p, level).lse[0])) << level_name(level);
    }
}

// ---- Negative controls: what is wrong must fail ----

TEST(AttentionKernel, WrongProblemsFail) {
  for (Dtype dtype : {Dtype::kBf16, Dtype::kF32})
    for (int qo : {1, 40}) {
      const Data d({.q = dtype, .kv = dtype, .mask = AttentionMask::kCausal, .requests = {{qo, 200}}});
      const Result expected = reference(d);
      for (int level : levels()) {
        const std::string where = level_name(level) + ": " + d.c.text();
        ASSERT_LE(excess(d, run(d, d.problem(), level), expected), 1.0) << where;

        AttentionProblem p = d.problem();
        std::vector<std::int32_t> shorter = d.kv_len;
        --shorter[0];  // every row attends to one token fewer
        p.kv_len = shorter.data();
        EXPECT_GT(excess(d, run(d, p, level), expected), 1.0) << "mask shifted by one, " << where;

        p = d.problem();
        p.q = static_cast<const char*>(p.q) + d.c.dim_qk * size_of(dtype);  // head h reads head h + 1
        p.q_stride_head = -d.c.dim_qk;  // and h + 1 reads h (heads 0 and 1)
        Case two = d.c;
        two.kv_heads = 1, two.group = 2;
        const Data pair(two);
        AttentionProblem swapped = pair.problem();
        swapped.q = static_cast<const char*>(swapped.q) + two.dim_qk * size_of(dtype);
        swapped.q_stride_head = -two.dim_qk;
        EXPECT_GT(excess(pair, run(pair, swapped, level), reference(pair)), 1.0)
            << "query heads swapped, " << where;

        p = d.problem();
        std::vector<std::int32_t> pages = d.kv_indices;
        std::swap(pages[2], pages[3]);
        pages[3] = pages[2];
        p.kv_indices = pages.data();
        EXPECT_GT(excess(d, run(d, p, level), expected), 1.0) << "a wrong page index, " << where;
      }
    }
}

}  // namespace
}  // namespace strobe::cpu
