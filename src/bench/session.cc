#include "bench/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <memory>

#include "bench/gpu/gpu_case.h"
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
  const auto fails = [](const Row& row) { return row.failed() && !row.options.allow_output_mismatch; };
  return errors > 0 || (workload && workload->failed()) || std::any_of(rows.begin(), rows.end(), fails);
}

namespace {

// What measures limits beside the rows; the CPU's takes memory, and is there when cases run on it.
struct Probes {
  std::optional<LimitProbe> cpu;
  std::vector<std::unique_ptr<GpuProbe>> gpus;

  const GpuProbe& of(Device device) const {
    return **std::find_if(gpus.begin(), gpus.end(),
                          [&](const auto& probe) { return probe->device() == device; });
  }
};

void run_planned(const PlannedCase& planned, const std::string& position, const Probes& probes,
                 const SessionCallbacks& callbacks, Progress& progress, SessionResult& result) {
  const auto keep = [&](std::vector<Row> rows) {
    for (Row& row : rows) {
      progress.clear();
      callbacks.on_row(row);
      result.rows.push_back(std::move(row));
    }
  };
  if (!planned.levels.empty())
    keep(run_case(planned.bench_case, planned.options, planned.levels, *probes.cpu, position, progress));
  if (!planned.gpu_backends.empty())
    keep(run_gpu_case(planned.bench_case, planned.options, planned.gpu_backends, probes.of(planned.gpu),
                      position, progress));
}

void run_cases(const SessionPlan& plan, const Probes& probes, const SessionCallbacks& callbacks,
               Progress& progress, SessionResult& result) {
  for (std::size_t i = 0; i < plan.cases.size(); ++i) try {
      run_planned(plan.cases[i], fmt::format("[{}/{}] ", i + 1, plan.cases.size()), probes, callbacks,
                  progress, result);
    } catch (const Stopped&) {
      result.stopped = true;
      return;
    } catch (const std::exception& error) {
      if (plan.cases.size() == 1) throw;
      progress.clear();
      callbacks.on_error(error.what());
      ++result.errors;
    }
}

std::vector<Limits> measure_all(const std::vector<cpu::Isa>& levels, int threads, const Probes& probes) {
  std::vector<Limits> limits = measure_levels(levels, threads);
  for (const auto& gpu : probes.gpus) limits.push_back(gpu->measure_limits());
  return limits;
}

}  // namespace

SessionResult run_session(SessionPlan plan, const SessionCallbacks& callbacks, Progress& progress) {
  SessionResult result;
  const int threads = executor().max_workers();
  progress.show("measuring the machine's limits");
  Probes probes;
  for (Device gpu : plan.gpus) {
    probes.gpus.push_back(std::make_unique<GpuProbe>(gpu));
    result.limits.gpus.push_back(probes.gpus.back()->facts());
  }
  result.limits.before = measure_all(plan.levels, threads, probes);
  progress.clear();
  callbacks.on_start(result.limits);
  {
    const cpu::ScopedPin pin(executor());
    const ScopedIsa restore;
    if (!plan.levels.empty()) probes.cpu.emplace();
    run_cases(plan, probes, callbacks, progress, result);
    if (plan.workload) {
      cpu::set_active_isa(plan.levels.front());
      result.workload =
          run_workload(std::move(*plan.workload), plan.workload_refcheck, *probes.cpu, progress);
      result.stopped = result.workload->stopped;
    }
    probes.cpu.reset();
  }
  if (result.stopped) {
    progress.clear();
    if (result.rows.empty() && !result.workload) throw Stopped{};
    return result;
  }
  progress.show("measuring the machine's limits again");
  result.limits.after = measure_all(plan.levels, threads, probes);
  progress.clear();
  return result;
}

}  // namespace strobe::bench
