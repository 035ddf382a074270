// What a workload run prints and writes.
#pragma once

#include <string>

#include "bench/json_report.h"
#include "bench/workload_run.h"

namespace strobe::bench {

std::string workload_text(const WorkloadResult& result, bool verbose);

// The summary, and the steps one by one.
Json json_of(const WorkloadResult& result);

}  // namespace strobe::bench
