#pragma once

#include <string>

#include "bench/report/results.h"

namespace strobe::bench::report {

// Every row by FLOPs a byte (or below the axis' left end, where it has none) and FLOP/s, under the limits of
// memory and arithmetic; empty without rows.
std::string roofline_figure(const Results& results);

}  // namespace strobe::bench::report
