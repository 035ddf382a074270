#pragma once

#include <string>

#include "bench/report/results.h"

namespace strobe::bench::report {

// Bandwidth of decode over batch size, page size and layout: cases that differ in that parameter alone make a
// line. Empty when there are no such cases.
std::string decode_figures(const Results& results);

// Arithmetic rate of prefill over the length of the queries; empty without prefill cases.
std::string prefill_figure(const Results& results);

}  // namespace strobe::bench::report
