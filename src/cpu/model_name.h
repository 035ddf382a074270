// What the kernel of the operating system calls this machine's CPU.
#pragma once

#include <string>

namespace strobe::cpu {

// "AMD EPYC 9654 96-Core Processor", or "unknown".
const std::string& model_name();

}  // namespace strobe::cpu
