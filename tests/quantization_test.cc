#include "strobe/quantization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <vector>

#include "support/call_check.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::check_call;
using test::error_message;
using test::expect_matches_reference;
using testing::ElementsAre;
using testing::HasSubstr;

using Bytes = std::vector<std::uint8_t>;
using Indptr = std::vector<std::int32_t>;

Bytes random_booleans(std::int64_t size, std::uint64_t seed) {
  Bytes x(static_cast<std::size_t>(size));
  op::Random random(seed);
  for (std::uint8_t& value : x) value = static_cast<std::uint8_t>(random.integer(0, 1));
  return x;
}

struct Segments {
  Bytes x;
  Indptr indptr, packed_indptr;
  Bytes y;
  explicit Segments(const Indptr& lengths) : indptr(1, 0), packed_indptr(lengths.size() + 1) {
    std::partial_sum(lengths.begin(), lengths.end(), std::back_inserter(indptr));
    x = random_booleans(indptr.back(), 7);
    y.assign(static_cast<std::size_t>(
                 segment_packbits_indptr(TensorView::of(indptr), TensorView::of(packed_indptr))),
             0xa5);
  }
  SegmentPackbitsArgs args(BitOrder order = BitOrder::kLittle) {
    return {.x = TensorView::of(x),
            .indptr = TensorView::of(indptr),
            .packed_indptr = TensorView::of(packed_indptr),
            .y = TensorView::of(y),
            .bitorder = order};
  }
};

TEST(Packbits, MatchesTheReferenceOverLengths) {
  for (const char* order : {"big", "little"})
    for (const char* dtype : {"bool", "u8"})
      for (const char* size :
           {"1", "2", "7", "8", "9", "31", "63", "64", "65", "127", "128", "200", "1000", "300001"})
        expect_matches_reference("packbits", {{"num_elements", size}, {"dtype", dtype}, {"bitorder", order}});
}

TEST(Packbits, OrdersBitsAsNamed) {
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    Bytes x = {1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1}, y(2, 0xff);
    packbits({.x = TensorView::of(x), .y = TensorView::of(y)});
    EXPECT_THAT(y, ElementsAre(0b10110011, 0b10100000));
    packbits({.x = TensorView::of(x), .y = TensorView::of(y), .bitorder = BitOrder::kLittle});
    EXPECT_THAT(y, ElementsAre(0b11001101, 0b00000101));
  }
}

TEST(Packbits, AnyByteButZeroIsTrue) {
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    Bytes x(256), y(32);
    std::iota(x.begin(), x.end(), std::uint8_t{0});
    packbits({.x = TensorView::of(x), .y = TensorView::of(y), .bitorder = BitOrder::kLittle});
    EXPECT_EQ(y[0], 0xfe);
    for (std::size_t i = 1; i < y.size(); ++i) EXPECT_EQ(y[i], 0xff) << i;
  }
}

TEST(Packbits, ReadsAndWritesNothingBeyondTheEnd) {
  for (cpu::Isa isa : test::isa_levels())
    for (std::int64_t size : {1, 8, 60, 64, 67, 130, 511}) {
      const test::ScopedIsa scoped(isa);
      const std::int64_t bytes = (size + 7) / 8;
      test::GuardedMemory x(static_cast<std::size_t>(size)), y(static_cast<std::size_t>(bytes));
      packbits(
          {.x = TensorView(x.data(), Dtype::kBool, {size}), .y = TensorView(y.data(), Dtype::kU8, {bytes})});
    }
}

TEST(SegmentPackbits, MatchesTheReferenceOverLengths) {
  const Indptr kLengths[] = {
      {5}, {8, 8}, {4, 3, 4}, {0, 1, 0, 0, 64, 65, 0}, {700, 9, 0, 4096, 63, 1}, {40000, 1, 7, 30000}};
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    for (const Indptr& lengths : kLengths)
      for (BitOrder order : {BitOrder::kBig, BitOrder::kLittle}) {
        Segments segments(lengths);
        const auto result = check_call("segment_packbits", segments.args(order),
                                       [](const SegmentPackbitsArgs& args) { segment_packbits(args); });
        EXPECT_TRUE(result.passed) << cpu::name(isa) << ": " << result.worst;
      }
  }
}

TEST(SegmentPackbits, MatchesTheReferenceOverBatches) {
  for (const char* batch_size : {"1", "3", "70"})
    for (const char* length : {"1", "50", "3000"})
      expect_matches_reference("segment_packbits", {{"batch_size", batch_size}, {"segment_length", length}});
}

TEST(SegmentPackbits, BeginsEverySegmentWithAByte) {
  Segments segments({4, 3, 0, 9});
  EXPECT_THAT(segments.packed_indptr, ElementsAre(0, 1, 2, 2, 4));
  segments.x = {1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1};
  segment_packbits(segments.args(BitOrder::kLittle));
  EXPECT_THAT(segments.y, ElementsAre(0b1101, 0b100, 0b00001011, 0b1));
}

TEST(SegmentPackbits, WorksOnNothing) {
  Segments none({}), empty({0, 0});
  segment_packbits(none.args());
  segment_packbits(empty.args());
  EXPECT_THAT(empty.packed_indptr, ElementsAre(0, 0, 0));
  Bytes x, y;
  packbits({.x = TensorView::of(x), .y = TensorView::of(y)});
}

TEST(SegmentPackbits, AWrongPackingFailsTheCheck) {
  Segments segments({13, 20, 9});
  const auto other_order = check_call("segment_packbits", segments.args(), [](SegmentPackbitsArgs& args) {
    args.bitorder = BitOrder::kBig;
    segment_packbits(args);
  });
  EXPECT_FALSE(other_order.passed);
  const auto shifted = check_call("segment_packbits", segments.args(), [&](const SegmentPackbitsArgs& args) {
    std::rotate(segments.x.begin(), segments.x.begin() + 1, segments.x.end());
    segment_packbits(args);
  });
  EXPECT_FALSE(shifted.passed);
}

TEST(SegmentPackbits, NamesArgumentExpectationAndFinding) {
  Bytes x(20), y(2);
  EXPECT_THAT(error_message([&] { packbits({.x = TensorView::of(x), .y = TensorView::of(y)}); }),
              HasSubstr("packbits: y: expected 3 bytes for the 20 elements of x, got 2"));
  std::vector<float> wrong(20);
  EXPECT_THAT(error_message([&] { packbits({.x = TensorView::of(wrong), .y = TensorView::of(y)}); }),
              HasSubstr("packbits: x: expected dtype u8 or bool, got f32[20]"));

  const auto message = [](auto change) {
    Segments segments({4, 3, 4});
    change(segments);
    return error_message([&] { segment_packbits(segments.args()); });
  };
  EXPECT_THAT(message([](Segments& s) { s.indptr[0] = 1; }),
              HasSubstr("segment_packbits: indptr: expected 0 at [0], got 1"));
  EXPECT_THAT(
      message([](Segments& s) { s.indptr[2] = 3; }),
      HasSubstr("segment_packbits: indptr: expected values that never decrease, got 3 at [2] after 4"));
  EXPECT_THAT(message([](Segments& s) { s.indptr[3] = 10; }),
              HasSubstr("segment_packbits: indptr: expected 11 (the size of x) at [3], got 10"));
  EXPECT_THAT(
      message([](Segments& s) { s.packed_indptr[1] = 2; }),
      HasSubstr("segment_packbits: packed_indptr: expected 1 at [1] (0 + 4 elements in bytes), got 2"));
  EXPECT_THAT(message([](Segments& s) { s.y.push_back(0); }),
              HasSubstr("segment_packbits: y: expected 3 bytes (the last of packed_indptr), got 4"));

  Indptr falling = {0, 5, 4}, packed(3), shorter(2);
  EXPECT_THAT(
      error_message([&] { segment_packbits_indptr(TensorView::of(falling), TensorView::of(packed)); }),
      HasSubstr("indptr: expected values that never decrease, got 4 at [2] after 5"));
  EXPECT_THAT(
      error_message([&] { segment_packbits_indptr(TensorView::of(falling), TensorView::of(shorter)); }),
      HasSubstr("packed_indptr: expected i32[batch_size + 1] in host memory, got i32[2]"));
}

}  // namespace
}  // namespace strobe
