#pragma once

#include <string>

#include "bench/compare/compare.h"
#include "bench/report/kind.h"

namespace strobe::bench::report {

// How a verdict is drawn: "slower" in colour and shape, and so on.
const Kind& mark_of(Verdict verdict);

// The ratio of every case with its interval, the threshold as a band.
std::string ratio_figure(const Comparison& comparison);

}  // namespace strobe::bench::report
