// The page of `strobe bench --report`: a pure function of result files.
#pragma once

#include <string>
#include <vector>

#include "bench/result_file.h"

namespace strobe::bench::report {

// One page for files of one machine: a suite's and a workload's, say. Errors as of Results.
std::string report_page(std::vector<ResultFile> files);

}  // namespace strobe::bench::report
