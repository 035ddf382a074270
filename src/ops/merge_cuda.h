// Merging attention states on NVIDIA GPUs.
#pragma once

#include "strobe/cascade.h"

namespace strobe::op {

// `mask`: of tokens, where false they keep v and s; not given: all merge.
void run_merge_pair_cuda(const MergeStateArgs& args, const TensorView& mask, const Launch& launch);
void run_merge_states_cuda(const MergeStatesArgs& args, const Launch& launch);

}  // namespace strobe::op
