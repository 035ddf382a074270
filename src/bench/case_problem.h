// What running a case on any device begins with: its inputs, and the row that tells of it.
#pragma once

#include <string>
#include <string_view>

#include "bench/run_case.h"

namespace strobe::bench {

// Errors say which case they are about.
op::Problem make_problem(const BenchCase& bench_case, std::uint64_t seed);

// Where a row's case runs.
struct RowPlace {
  std::string backend, device, isa;  // isa of a GPU: its architecture
  int threads = 0;                   // 0 on a GPU
};

// All but times and limits.
Row describe_case(const BenchCase& bench_case, const RunOptions& options, const op::Problem& problem,
                  const RowPlace& place);

std::string progress_text(std::string_view position, const Row& row, std::string_view what);

}  // namespace strobe::bench
