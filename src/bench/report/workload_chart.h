#pragma once

#include <string>

#include "bench/result_file.h"

namespace strobe::bench::report {

// Three pictures over one axis of steps: time per step, requests in the batch, pages in use.
std::string workload_figure(const ResultWorkload& workload);

}  // namespace strobe::bench::report
