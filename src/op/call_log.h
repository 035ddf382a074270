// The call log: what STROBE_LOGLEVEL prints of a call.
#pragma once

#include <string>

#include "op/operator.h"

namespace strobe::op {

// Writes the record of a call that is about to run (level >= 1): level 1 its name; 3 also operands and
// attributes of the phase; 5 also statistics of what it reads.
void log_call(const Operator& op, const void* args, Phase phase, Backend backend);

// At level 5, the statistics of what it has written.
void log_result(const Operator& op, const void* args, Phase phase);

// "min -3.1 max 3.2 mean 0.01 nan 0 inf 0" over the finite elements of a CPU view; "" for another device.
std::string statistics(const TensorView& view);

}  // namespace strobe::op
