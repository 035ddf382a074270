// Which solution is the fastest for which sizes, by the traces of a data set.
//
// A trace counts when it passed, within the bounds on its errors, by a solution that is known. Traces are
// told apart by hardware, definition and the values of the definition's variable axes. Of several traces of a
// solution on a workload the last one counts. A solution that failed on a workload of some sizes is not taken
// for these sizes on that hardware, however fast it was on others of them; else its time for them is the mean
// over the workloads.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trace/data_set.h"

namespace strobe::trace {

// For sizes that nobody has measured: nothing; the solution of the nearest sizes within a bound; or the one
// that is the fastest at more of the measured sizes than any other.
enum class MissPolicy : std::uint8_t { kFallback, kNearest, kBest };
std::string_view name(MissPolicy policy);  // "fallback_only", "nearest", "use_def_best"
MissPolicy parse_miss_policy(std::string_view text);

struct TableOptions {
  MissPolicy on_miss = MissPolicy::kFallback;
  // Two sizes are as far apart as the axis in which they differ most: |log2(a / b)|. The number of pages of a
  // cache (num_pages) does not count, as it says nothing of the work. 1: up to twice or half as large.
  double nearest_octaves = 1;
  double max_absolute_error = std::numeric_limits<double>::infinity();
  double max_relative_error = std::numeric_limits<double>::infinity();
};

using AxisValues = std::vector<std::int64_t>;  // of the variable axes, in the definition's order

struct Candidate {
  const Solution* solution = nullptr;
  double latency_ms = 0;
  int workloads = 0;
};

// What is known of one definition on one hardware.
struct Measurements {
  std::map<AxisValues, std::vector<Candidate>> by_axes;  // fastest first; equal ones in order of their names
  std::map<std::string, int> left_out;                   // why, and how many traces
  const Solution* best = nullptr;                        // by wins; null when by_axes is empty
};

enum class Route : std::uint8_t { kExact, kNearest, kBest, kNotMeasured, kNoTraces };
std::string_view name(Route route);  // "exact", "nearest", "definition's best", "not measured", "no traces"

struct Choice {
  Route route = Route::kNoTraces;
  const Solution* solution = nullptr;       // null for the last two routes
  const AxisValues* measured_at = nullptr;  // of kExact and kNearest
  double latency_ms = 0;                    // there
  double distance = 0;                      // of kNearest, in octaves
};

class ApplyTable {
 public:
  // `set` must stay.
  ApplyTable(const DataSet& set, const TableOptions& options);

  // Asks `unusable` of each solution that wins somewhere on that hardware, and leaves out those for which it
  // gives a reason, so that the next one wins.
  void leave_out(std::string_view hardware,
                 const std::function<std::optional<std::string>(const Solution&)>& unusable);

  Choice choose(std::string_view definition, std::string_view hardware, const AxisValues& axes) const;

  // Null when there is no trace of them.
  const Measurements* measurements(std::string_view definition, std::string_view hardware) const;
  std::vector<std::string> hardware_of(std::string_view definition) const;
  const TableOptions& options() const { return options_; }

 private:
  using ByHardware = std::map<std::string, Measurements, std::less<>>;
  std::optional<double> distance(const Definition& definition, const AxisValues& a,
                                 const AxisValues& b) const;

  const DataSet* set_;
  TableOptions options_;
  std::map<std::string, ByHardware, std::less<>> definitions_;
};

// The names of a definition's variable axes.
std::vector<std::string> variable_axes(const Definition& definition);

}  // namespace strobe::trace
