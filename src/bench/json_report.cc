#include "bench/json_report.h"

#include <charconv>

#include "bench/workload_report.h"

namespace strobe::bench {
namespace {

Json json_of(const std::vector<Limits>& levels) {
  Json list = Json::array();
  for (const Limits& level : levels) {
    Json entry = {{"isa", level.isa}, {"threads", level.threads}};
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
  return {{"dram_read_gbs", rates.dram_read_gbs},
          {"copy_gbs", rates.copy_gbs},
          {"fma_gflops", rates.fma_gflops},
          {"bf16_dot_gflops", rates.bf16_dot_gflops}};
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
  Json json = {{"routine", row.routine},
               {"backend", row.backend},
               {"device", row.device},
               {"isa", row.isa},
               {"threads", row.threads},
               {"case", json_of(row.values)},
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
               {"tflops", row.cost.flops / median * 1e-12},
               {"tb_per_sec", row.cost.bytes / median * 1e-12},
               {"limits", json_of(row.limits)},
               {"roofline_bound", name(row.floor.bound)},
               {"roofline_fraction", row.fraction()}};
  json.update(json_of_check(row.check));
  json["repro"] = row.repro;
  return json;
}

Json json_of(const RunInfo& run, const Machine& machine, const SessionResult& result) {
  Json rows = Json::array();
  for (const Row& row : result.rows) rows.push_back(json_of(row));
  Json json = {{"version", STROBE_VERSION}, {"commit", run.commit},        {"command", run.command},
               {"date", run.date},          {"machine", json_of(machine)}, {"limits", json_of(result.limits)},
               {"rows", std::move(rows)}};
  if (result.workload) json["workload"] = json_of(*result.workload);
  return json;
}

}  // namespace strobe::bench
