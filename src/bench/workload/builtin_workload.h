// Workloads that need no file: requests drawn from quantile tables of public traces.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "bench/workload/requests.h"

namespace strobe::bench {

inline constexpr int kContextQuantiles = 71;
inline constexpr int kGeneratedQuantiles = 21;
inline constexpr int kContextBins = 8;

// What one service's trace is reduced to. Quantile i of a row is at probability grid[i] / 4096 of its grid.
struct WorkloadTable {
  std::string_view name;
  std::array<int, kContextQuantiles> context_tokens;
  std::array<std::int64_t, kContextQuantiles> gap_ns;  // between consecutive arrivals
  // Given the context length: row b holds for contexts between their quantiles b/8 and (b+1)/8.
  std::array<std::array<int, kGeneratedQuantiles>, kContextBins> generated_tokens;
};
std::array<int, kContextQuantiles> context_grid();  // of context_tokens and gap_ns
std::array<int, kGeneratedQuantiles> generated_grid();

// "azure-conv" and "azure-code".
std::vector<std::string_view> workload_names();

// Throws Error(kInvalidArgument), listing the names, for an unknown one.
const WorkloadTable& workload_table(std::string_view name);

// Draws `count` requests: contexts and gaps independently from their quantiles (linear in between), generated
// tokens from the row of the context's bin. So lengths and load are the trace's (means within 5 %); bursts
// longer than single gaps are not kept. Integer arithmetic only: a seed gives the same requests on every
// machine.
// Throws Error(kInvalidArgument) for an unknown name or a negative count.
std::vector<Request> builtin_workload(std::string_view name, int count, std::uint64_t seed);

}  // namespace strobe::bench
