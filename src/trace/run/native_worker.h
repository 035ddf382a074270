// The process that runs solutions in C++ and CUDA for strobe trace run, without Python: it builds one, then
// answers the requests that worker.py answers, on the same descriptors. Nothing here is trusted by the other
// side.
#pragma once

namespace strobe::trace {

// Until the requests end; the exit status.
int run_native_worker();

}  // namespace strobe::trace
