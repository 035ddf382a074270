// What masks and penalties of logits have in common, for their backends.
#pragma once

#include <string_view>

#include "strobe/logits.h"

namespace strobe::op {

struct LogitsCall {
  std::string_view op_name;
  const TensorView& logits;
  const TensorView& out;
  const TensorView& bitmask;
  const TensorView& bitmask_indices;
  const PenaltiesArgs* penalties = nullptr;  // its counts, prompt_mask, slots and parameters
};

void run_logits_cpu(const LogitsCall& call);
void run_logits_cuda(const LogitsCall& call, const Launch& launch);

}  // namespace strobe::op
