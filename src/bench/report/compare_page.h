// The page of `strobe bench compare --report`.
#pragma once

#include <string>

#include "bench/compare/compare.h"

namespace strobe::bench::report {

std::string compare_page(const Comparison& comparison, const ResultFile& a, const ResultFile& b);

}  // namespace strobe::bench::report
