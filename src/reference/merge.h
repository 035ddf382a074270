// FP64 references of the merges of attention states.
#pragma once

#include "op/operator.h"
#include "strobe/cascade.h"

namespace strobe::reference {

void merge_state(const MergeStateArgs& args, op::Expected& expected);
void merge_state_in_place(const MergeStateInPlaceArgs& args, op::Expected& expected);
void merge_states(const MergeStatesArgs& args, op::Expected& expected);

}  // namespace strobe::reference
