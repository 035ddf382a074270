// The program of the processes that run Python, as text (worker.py).
#pragma once

#include <string_view>

namespace strobe::trace {

extern const std::string_view kWorkerSource;

}  // namespace strobe::trace
