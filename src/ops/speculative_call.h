// What the verifications of chains and trees have in common, for their backends.
#pragma once

#include <string_view>

#include "sampling/speculative_kind.h"
#include "strobe/speculative.h"

namespace strobe::op {

void run_speculative_cpu(const ChainSpeculativeSamplingArgs& args);
void run_speculative_cpu(const TreeSpeculativeSamplingArgs& args);
void run_speculative_cpu(const VerifyTreeGreedyArgs& args);

void run_speculative_cuda(const ChainSpeculativeSamplingArgs& args, const Launch& launch);
void run_speculative_cuda(const TreeSpeculativeSamplingArgs& args, const Launch& launch);
void run_speculative_cuda(const VerifyTreeGreedyArgs& args, const Launch& launch);

}  // namespace strobe::op
