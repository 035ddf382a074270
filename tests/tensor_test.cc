#include "strobe/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "support/sweep.h"

namespace strobe {
namespace {

using test::error_message;
using testing::HasSubstr;

TEST(TensorView, SliceSelectPermuteReachTheRightElements) {
  std::vector<std::int32_t> values(24);
  std::iota(values.begin(), values.end(), 0);
  const TensorView view(values.data(), Dtype::kI32, {2, 3, 4});
  EXPECT_EQ(view.at<std::int32_t>(1, 2, 3), 23);
  EXPECT_EQ(view.slice(1, 1, 3).at<std::int32_t>(1, 0, 0), 16);
  EXPECT_EQ(view.select(1, 2).at<std::int32_t>(1, 1), 21);
  EXPECT_EQ(view.permute({2, 0, 1}).at<std::int32_t>(3, 1, 2), 23);
  EXPECT_EQ(view.reshape({6, 4}).at<std::int32_t>(5, 3), 23);
}

TEST(TensorView, KnowsWhetherItIsDense) {
  Tensor tensor(Dtype::kF16, {3, 4, 5});
  EXPECT_TRUE(tensor.view().is_dense());
  EXPECT_TRUE(tensor.view().slice(0, 1, 3).is_dense());
  EXPECT_FALSE(tensor.view().slice(1, 0, 2).is_dense());
  EXPECT_TRUE(tensor.view().slice(0, 1, 2).slice(1, 0, 2).is_dense());
  EXPECT_FALSE(tensor.view().permute({1, 0, 2}).is_dense());
}

TEST(TensorView, DescribesItself) {
  Tensor tensor(Dtype::kBf16, {4, 32, 128});
  EXPECT_EQ(describe(tensor), "bf16[4, 32, 128]");
  EXPECT_EQ(describe(tensor.view().slice(1, 0, 2)), "bf16[4, 2, 128] strides [4096, 128, 1]");
  EXPECT_EQ(describe(TensorView{}), "not given");
}

TEST(TensorView, RejectsWhatIsOutOfRange) {
  Tensor tensor(Dtype::kF32, {3, 4});
  EXPECT_THAT(error_message([&] { tensor.view().slice(2, 0, 1); }),
              HasSubstr("expected an axis in [0, 2), got 2"));
  EXPECT_THAT(error_message([&] { tensor.view().slice(0, 2, 5); }),
              HasSubstr("expected 0 <= begin <= end <= 3, got [2, 5)"));
  EXPECT_THAT(error_message([&] { tensor.view().select(1, 4); }),
              HasSubstr("expected an index in [0, 4), got 4"));
  EXPECT_THAT(error_message([&] { tensor.view().permute({0, 0}); }), HasSubstr("axis 0 is named twice"));
  EXPECT_THAT(error_message([&] {
                tensor.view().permute({1, 0}).reshape({12});
              }),
              HasSubstr("expected a dense view of 12 elements"));
  EXPECT_THAT(error_message([] { TensorView(nullptr, Dtype::kF32, {-1}); }),
              HasSubstr("expected extents >= 0, got -1 on axis 0"));
  EXPECT_THAT(error_message([] {
                TensorView(nullptr, Dtype::kF32, {1, 1, 1, 1, 1, 1, 1});
              }),
              HasSubstr("expected at most 6 axes"));
}

TEST(Tensor, OwnsAlignedMemoryAndCopies) {
  Tensor small(Dtype::kU8, {3});
  Tensor large(Dtype::kU8, {3 << 20});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(small.view().data) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.view().data) % (2 << 20), 0u);
  small.view().at<std::uint8_t>(1) = 7;
  const Tensor copy = small.clone();
  small.view().at<std::uint8_t>(1) = 9;
  EXPECT_EQ(copy.view().at<std::uint8_t>(1), 7);
}

}  // namespace
}  // namespace strobe
