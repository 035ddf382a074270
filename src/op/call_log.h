// The call log: what STROBE_LOGLEVEL prints of a call.
#pragma once

#include <cstdint>

#include "op/operator.h"

namespace strobe::op {

// Writes the record of a call that is about to run (level >= 1): level 1 its name; 3 also operands and
// attributes of the phase. At level 5 a second record has the statistics of what the call reads; it comes
// after the first, which is on its way before anything touches the operands. Statistics of operands on a GPU
// wait for the stream, and are not taken while it is captured; then, and when they cannot be taken, the
// record says why. Returns the call's number.
std::uint64_t log_call(const Operator& op, const void* args, Phase phase, Backend backend, Stream stream,
                       std::string_view kernels = {});

// At level 5, the statistics of what call `number` has written.
void log_result(const Operator& op, const void* args, Phase phase, std::uint64_t number, Stream stream);

}  // namespace strobe::op
