// The inputs of a workload: drawn anew for every round, or those of its files.
#pragma once

#include <vector>

#include "op/random.h"
#include "trace/data_set.h"
#include "trace/run/tensor_sets.h"

namespace strobe::trace {

class Inputs {
 public:
  // Error(kInvalidArgument) when an input is missing, Error(kIo) when its file cannot be read.
  Inputs(const DataSet& set, const Definition& definition, const Workload& workload, std::uint64_t seed);

  const std::vector<ScalarValue>& scalars() const { return scalars_; }
  // Floats are normal, integers 0 or 1. Of operators that sample, `probs` are distributions, `top_k` lies
  // between 1 and 64 (or the vocabulary), `top_p` between 0.1 and 1.
  void fill(const TensorSets& sets);

 private:
  void draw(const TensorSpec& spec, const TensorView& target);

  const Definition& definition_;
  op::Random random_;
  std::vector<ScalarValue> scalars_;
  std::vector<Tensor> files_;  // of the tensors; empty where they are drawn
};

}  // namespace strobe::trace
