// Runs a declared operator: validate, log, pick the backend, run.
#pragma once

#include "op/operator.h"
#include "op/validate.h"

namespace strobe::op {

// The backend that serves a call on `device`: the one asked for, or the best. Throws Error(kUnsupported) that
// says what there is.
Backend select_backend(const Operator& op, Device device, Backend wanted);

// The device of the first operand given.
Device device_of(const Operator& op, const void* args);

void call_erased(const Operator& op, const void* args, const Launch& launch);

template <class Args>
void call(const Operator& op, const Args& args, const Launch& launch) {
  call_erased(op, &args, launch);
}

}  // namespace strobe::op
