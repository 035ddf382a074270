#pragma once

#include <string>

#include "bench/report/results.h"

namespace strobe::bench::report {

// A line for each routine with its cases at the share of the limit that they reach, and the median; empty
// without rows.
std::string routine_figure(const Results& results);

}  // namespace strobe::bench::report
