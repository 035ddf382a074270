#include "strobe/norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "op/random.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::error_message;
using test::expect_matches_reference;
using testing::HasSubstr;

TEST(RmsNorm, MatchesTheReferenceOverDtypesAndTails) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const char* hidden : {"1", "7", "8", "31", "64", "65", "100", "4096"})
      for (const char* gemma : {"false", "true"})
        expect_matches_reference("rmsnorm", {{"num_tokens", "5"}, {"hidden", hidden}, {"dtype", dtype}, {"gemma", gemma}});
}

TEST(RmsNorm, NamesArgumentExpectationAndFinding) {
  Tensor x(Dtype::kBf16, {2, 8}), w(Dtype::kBf16, {7}), y(Dtype::kBf16, {2, 8});
  EXPECT_THAT(error_message([&] { rmsnorm({.input = x, .weight = w, .out = y}); }),
              HasSubstr("rmsnorm: weight: expected shape [hidden = 8], got bf16[7]"));
}

}  // namespace
}  // namespace strobe
