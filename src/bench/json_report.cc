#include "bench/json_report.h"

#include <charconv>

#include "bench/workload_report.h"

namespace strobe::bench {
namespace {

// The CPU has levels and threads, a GPU an architecture.
Json place_of(const std::string& device, const std::string& isa, int threads) {
  if (threads == 0) return {{"device", device}, {"architecture", isa}};
  return {{"device", device}, {"isa", isa}, {"threads", threads}};
}

Json json_of(const GpuFacts& gpu) {
  return {{"device", gpu.device},
          {"name", gpu.name},
          {"architecture", gpu.architecture},
          {"sm_count", gpu.sm_count},
          {"memory_bytes", gpu.memory_bytes},
          {"l2_bytes", gpu.l2_bytes},
          {"driver", gpu.driver},
          {"no_matrix_peak", gpu.no_matrix_peak.empty() ? Json() : Json(gpu.no_matrix_peak)}};
}

Json json_of(const std::vector<Limits>& levels) {
  Json list = Json::array();
  for (const Limits& level : levels) {
    Json entry = place_of(level.device, level.isa, level.threads);
    entry.update(json_of(level.max));
    entry["median"] = json_of(level.median);
    list.push_back(std::move(entry));
  }
  return list;
}

// Numbers and booleans as such, everything else as text.
Json typed(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  const char* end = text.data() + text.size();
  std::int64_t integer = 0;
  if (const auto parsed = std::from_chars(text.data(), end, integer);
      parsed.ec == std::errc{} && parsed.ptr == end)
    return integer;
  double number = 0;
  if (const auto parsed = std::from_chars(text.data(), end, number);
      parsed.ec == std::errc{} && parsed.ptr == end)
    return number;
  return text;
}

}  // namespace

Json json_of(const LimitRates& rates) {
  const auto known = [](double rate, bool is = false) { return is || rate > 0 ? Json(rate) : Json(); };
  return {{"dram_read_gbs", rates.dram_read_gbs},
          {"copy_gbs", rates.copy_gbs},
          {"fma_gflops", known(rates.fma_gflops)},
          {"bf16_dot_gflops", known(rates.bf16_dot_gflops, rates.fma_gflops > 0)},
          {"e4m3_dot_gflops", known(rates.e4m3_dot_gflops)}};
}

Json json_of(const op::Case& values) {
  Json json = Json::object();
  for (const auto& [name, text] : values.values()) json[name] = typed(text);
  return json;
}

Json json_of_check(const std::optional<op::CheckResult>& check) {
  Json json = {{"refcheck", !check          ? "skipped"
                            : check->passed ? "pass"
                                            : "fail"},
               {"max_abs_err", check ? Json(check->max_abs_error) : Json()},
               {"max_rel_err", check ? Json(check->max_rel_error) : Json()}};
  if (check && !check->passed) json["refcheck_message"] = check->worst;
  return json;
}

Json json_of(const Machine& machine) {
  Json levels = Json::array();
  for (cpu::Isa level : machine.isa_levels) levels.push_back(cpu::name(level));
  return {{"cpu", machine.cpu},
          {"system", machine.system},
          {"cpus", machine.cpus},
          {"memory_bytes", machine.memory_bytes},
          {"l1d_bytes", machine.caches.l1d},
          {"l2_bytes", machine.caches.l2},
          {"llc_bytes", machine.caches.llc},
          {"isa_levels", std::move(levels)}};
}

Json json_of(const SessionLimits& limits) {
  return {{"before", json_of(limits.before)}, {"after", json_of(limits.after)}};
}

Json json_of(const Row& row) {
  const double median = row.timing.median();
  Json json = {{"routine", row.routine}, {"backend", row.backend}};
  json.update(place_of(row.device, row.isa, row.threads));
  json.update({{"case", json_of(row.values)},
               {"flags", row.flags},
               {"median_ms", median * 1e3},
               {"min_ms", row.timing.min() * 1e3},
               {"std_ms", row.timing.deviation() * 1e3},
               {"num_iters", row.timing.seconds.size()},
               {"outliers", row.timing.outliers()},
               {"instances", row.instances},
               {"plan_us", row.plan_seconds ? Json(*row.plan_seconds * 1e6) : Json()},
               {"flops", row.cost.flops},
               {"read_bytes", row.traffic.read_bytes},
               {"written_bytes", row.traffic.written_bytes},
               {"tflops", row.tflops()},
               {"tb_per_sec", row.tb_per_sec()},
               {"limits", json_of(row.limits)},
               {"roofline_bound", name(row.floor.bound)},
               {"roofline_fraction", row.fraction()}});
  if (row.on_gpu()) {
    json["timed_by"] = name(row.options.gpu_clock);
    json["calls_per_sample"] = row.calls_per_sample;
  }
  json.update(json_of_check(row.check));
  if (!row.options.case_tag.empty()) json["case_tag"] = row.options.case_tag;
  if (row.flashinfer) json["flashinfer_routine"] = row.flashinfer->routine;
  json["repro"] = row.repro;
  return json;
}

Json json_of(const RunInfo& run, const Machine& machine, const SessionResult& result) {
  Json rows = Json::array();
  for (const Row& row : result.rows) rows.push_back(json_of(row));
  Json json = {{"version", STROBE_VERSION}, {"commit", run.commit},        {"command", run.command},
               {"date", run.date},          {"machine", json_of(machine)}, {"limits", json_of(result.limits)},
               {"rows", std::move(rows)}};
  for (const GpuFacts& gpu : result.limits.gpus) json["machine"]["gpus"].push_back(json_of(gpu));
  if (result.workload) json["workload"] = json_of(*result.workload);
  if (result.stopped) json["stopped"] = true;
  return json;
}

}  // namespace strobe::bench
