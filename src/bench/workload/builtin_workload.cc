#include "bench/workload/builtin_workload.h"

#include <algorithm>

#include "core/message.h"
#include "op/random.h"

namespace strobe::bench {
namespace {

#include "bench/workload/azure_quantiles.inc"

// A probability is a 36-bit integer: 12 bits of the tables' unit of 1/4096, then 24 bits within a unit. The
// widest gap, 2^38 ns, times a 24-bit weight stays below 2^63.
constexpr int kUnitBits = 12;
constexpr int kWeightBits = 24;

std::int64_t draw_probability(op::Random& random) {
  return static_cast<std::int64_t>(random.next() >> (64 - kUnitBits - kWeightBits));
}

// The quantile at `probability`, linear between the grid's points, rounded to nearest.
template <class Value, std::size_t kSize>
Value quantile(const std::array<int, kSize>& grid, const std::array<Value, kSize>& values,
               std::int64_t probability) {
  const auto above = std::upper_bound(grid.begin(), grid.end(), probability >> kWeightBits);
  const auto i = static_cast<std::size_t>(above - grid.begin()) - 1;
  const std::int64_t start = std::int64_t{grid[i]} << kWeightBits;
  const std::int64_t weight = (probability - start) / (grid[i + 1] - grid[i]);
  const std::int64_t rise = std::int64_t{values[i + 1]} - values[i];
  constexpr std::int64_t kHalf = std::int64_t{1} << (kWeightBits - 1);
  return static_cast<Value>(values[i] + ((rise * weight + kHalf) >> kWeightBits));
}

}  // namespace

std::array<int, kContextQuantiles> context_grid() { return kContextGrid; }
std::array<int, kGeneratedQuantiles> generated_grid() { return kGeneratedGrid; }

std::vector<std::string_view> workload_names() {
  std::vector<std::string_view> names;
  for (const WorkloadTable& table : kWorkloadTables) names.push_back(table.name);
  return names;
}

const WorkloadTable& workload_table(std::string_view name) {
  for (const WorkloadTable& table : kWorkloadTables) {
    if (table.name == name) return table;
  }
  fail(ErrorKind::kInvalidArgument, "workload: expected one of {}, found \"{}\"",
       fmt::join(workload_names(), ", "), name);
}

std::vector<Request> builtin_workload(std::string_view name, int count, std::uint64_t seed) {
  const WorkloadTable& table = workload_table(name);
  if (count < 0) fail(ErrorKind::kInvalidArgument, "workload: expected count >= 0, found {}", count);
  op::Random random(seed);
  std::vector<Request> requests(count);
  std::int64_t arrival_ns = 0;
  for (Request& request : requests) {
    const std::int64_t gap_ns = quantile(kContextGrid, table.gap_ns, draw_probability(random));
    if (&request != &requests.front()) arrival_ns += gap_ns;
    request.arrival_s = static_cast<double>(arrival_ns) * 1e-9;
    const std::int64_t rank = draw_probability(random);
    const auto bin = static_cast<std::size_t>((rank * kContextBins) >> (kUnitBits + kWeightBits));
    request.context_tokens = quantile(kContextGrid, table.context_tokens, rank);
    request.generated_tokens =
        quantile(kGeneratedGrid, table.generated_tokens[bin], draw_probability(random));
  }
  return requests;
}

}  // namespace strobe::bench
