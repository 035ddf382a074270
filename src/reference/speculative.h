// References of chains and trees verified by a target: one token after the other, with integer weights.
#pragma once

#include "op/operator.h"
#include "strobe/speculative.h"

namespace strobe::reference {

void chain_speculative_sampling(const ChainSpeculativeSamplingArgs& args, op::Expected& expected);
void tree_speculative_sampling(const TreeSpeculativeSamplingArgs& args, op::Expected& expected);
void verify_tree_greedy(const VerifyTreeGreedyArgs& args, op::Expected& expected);

}  // namespace strobe::reference
