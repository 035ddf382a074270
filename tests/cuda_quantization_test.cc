#include <vector>

#include "strobe/quantization.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::expect_routine_matches_on_gpu;
using test::Layout;

class CudaPackbits : public test::GpuTest {};

TEST_F(CudaPackbits, MatchesTheReferenceOverSizesAndOrders) {
  for (const char* order : {"big", "little"})
    for (const char* dtype : {"bool", "u8"})
      for (const char* elements : {"1", "7", "8", "31", "32", "33", "1000", "40007"})
        expect_routine_matches_on_gpu("packbits",
                                      {{"num_elements", elements}, {"dtype", dtype}, {"bitorder", order}});
}

TEST_F(CudaPackbits, MatchesTheReferenceAtAnyAlignmentAndInAGraph) {
  for (std::size_t shift : {1, 3, 4, 8})
    expect_routine_matches_on_gpu("packbits", {{"num_elements", "5003"}}, Layout::kDense, {.shift = shift});
  expect_routine_matches_on_gpu("packbits", {{"num_elements", "5003"}}, Layout::kDense, {.graph = true});
}

TEST_F(CudaPackbits, SegmentsMatchTheReference) {
  for (const char* order : {"big", "little"})
    for (const char* batch_size : {"1", "5", "130"})
      for (const char* length : {"1", "9", "500"})
        expect_routine_matches_on_gpu(
            "segment_packbits",
            {{"batch_size", batch_size}, {"segment_length", length}, {"bitorder", order}});
}

// Any byte but 0 is true.
TEST_F(CudaPackbits, EveryByteCountsAsItsTruth) {
  Tensor x(Dtype::kU8, {256}), y(Dtype::kU8, {32});
  for (int i = 0; i < 256; ++i) x.as<std::uint8_t>()[i] = static_cast<std::uint8_t>(i);
  const op::CheckResult result = test::check_on_gpu("packbits", PackbitsArgs{.x = x, .y = y});
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST_F(CudaPackbits, TheOtherOrderFailsTheCheck) {
  op::Random random(1);
  const Tensor x(Dtype::kBool, {1000}), y(Dtype::kU8, {125});
  op::fill_normal(x, random);
  PackbitsArgs args{.x = x, .y = y};
  const op::Operator& op = *op::registry().find("packbits");
  op::Axes axes;
  op::validate(op, &args, op::Phase::kRun, axes);
  const op::Expected expected = op::expect(op, &args, axes, 1 << 20, random);
  args.bitorder = BitOrder::kLittle;
  test::run_on_gpu(op, &args, "little by mistake", {}, [&](Stream stream) { packbits(args, stream); });
  EXPECT_FALSE(op::compare(op, &args, axes, expected).passed);
}

}  // namespace
}  // namespace strobe
