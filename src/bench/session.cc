#include "bench/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/scoped_isa.h"
#include "cpu/pin.h"

namespace strobe::bench {
namespace {

// Of a level's memory and compute rates together: 25 slices of 10 ms for each of read, copy, FMA and bf16
// dot.
constexpr double kLimitsSeconds = 1;

}  // namespace

std::vector<Limits> measure_levels(const std::vector<cpu::Isa>& levels, int threads) {
  std::vector<Limits> result;
  for (cpu::Isa level : levels) {
    const bool first = result.empty();
    result.push_back(measure_limits(
        level, threads, {.seconds = first ? kLimitsSeconds : kLimitsSeconds / 2, .memory = first}));
    if (first) continue;
    for (auto rates : {&Limits::max, &Limits::median}) {  // memory does not depend on the level
      (result.back().*rates).dram_read_gbs = (result.front().*rates).dram_read_gbs;
      (result.back().*rates).copy_gbs = (result.front().*rates).copy_gbs;
    }
  }
  return result;
}

bool SessionResult::failed() const {
  return (workload && workload->failed()) ||
         std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.failed(); });
}

namespace {

void run_cases(const SessionPlan& plan, const LimitProbe& probe, const SessionCallbacks& callbacks,
               Progress& progress, SessionResult& result) {
  for (std::size_t i = 0; i < plan.cases.size(); ++i) {
    const std::string position = fmt::format("[{}/{}] ", i + 1, plan.cases.size());
    for (Row& row : run_case(plan.cases[i], plan.options, plan.levels, probe, position, progress)) {
      progress.clear();
      callbacks.on_row(row);
      result.rows.push_back(std::move(row));
    }
  }
}

}  // namespace

SessionResult run_session(SessionPlan plan, const SessionCallbacks& callbacks, Progress& progress) {
  SessionResult result;
  const int threads = executor().max_workers();
  progress.show("measuring the machine's limits");
  result.limits.before = measure_levels(plan.levels, threads);
  progress.clear();
  callbacks.on_start(result.limits);
  {
    const cpu::ScopedPin pin(executor());
    const ScopedIsa restore;
    const LimitProbe probe;
    run_cases(plan, probe, callbacks, progress, result);
    if (plan.workload) {
      cpu::set_active_isa(plan.levels.front());
      result.workload = run_workload(std::move(*plan.workload), plan.options.refcheck, probe, progress);
    }
  }
  progress.show("measuring the machine's limits again");
  result.limits.after = measure_levels(plan.levels, threads);
  progress.clear();
  return result;
}

}  // namespace strobe::bench
