// Whether what a solution has written is what the reference has.
#pragma once

#include "strobe/tensor.h"
#include "trace/model.h"

namespace strobe::trace {

struct Bounds {
  double rtol = 1e-2, atol = 1e-2;
  double required_matched_ratio = 1;
};

// An element is wrong when |got - want| > atol and |got - want| / (|want| + 1e-8) > rtol. NaN matches NaN, an
// infinity the same infinity, and nothing else does: errors are then infinite.
struct Comparison {
  double max_absolute_error = 0, max_relative_error = 0;
  std::int64_t elements = 0, wrong = 0;
  bool passed(const Bounds& bounds) const;
};
Comparison compare(const TensorView& got, const TensorView& want, const Bounds& bounds);

// By what an output is judged.
enum class Rule : std::uint8_t {
  kElements,  // every element, or the share of Bounds
  kLowBit,    // definitions of "moe_fp8_block_scale": a share of 0.95 is enough, but what is wrong may not be
              // far off: the root of the mean square of all errors is at most a tenth of the elements' own
  kIndexSets,  // indices of "dsa_topk_indexer…": each row (the last axis) is a set, -1 pads it; as many, none
               // twice, and 99 in 100 of them the reference's (the last ones may be as good as each other)
  kSamples,  // sampling.h
};
Rule rule_of(const Definition& definition, const TensorSpec& output);

struct Judgement {
  Comparison comparison;
  std::string problem;  // empty: it passed
};
// By any rule but kSamples.
Judgement judge(Rule rule, const TensorView& got, const TensorView& want, const Bounds& bounds);

// Whether every element is what op::fill_poison has put there.
bool is_poisoned(const TensorView& view);

}  // namespace strobe::trace
