// Runs a call whose operands live on the CPU on another device.
#pragma once

#include <functional>

#include "op/operator.h"

namespace strobe::op {

// Calls `run` while `args` name copies of the operands on `device` (those that stay on the host excepted),
// waits for its default stream, and brings back what was written. On the CPU it just calls `run`.
void run_on_device(const Operator& op, void* args, Device device, const std::function<void()>& run);

}  // namespace strobe::op
