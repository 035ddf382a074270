#include "bench/result_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "bench/json_reader.h"

namespace strobe::bench {
namespace {

std::string read_text(const JsonReader& reader) { return reader.text(); }

// Files of former versions name no device beside limits: the CPU's.
std::string device_of(const JsonReader& from) {
  const auto device = from.find("device");
  return device ? device->text() : "cpu";
}
std::string isa_of(const JsonReader& from) {
  const auto architecture = from.find("architecture");
  return architecture ? architecture->text() : from.at("isa").text();
}
int threads_of(const JsonReader& from) {
  return from.find("architecture") ? 0 : from.at("threads").integer();
}

LimitRates read_rates(const JsonReader& from) {
  const auto e4m3 = from.find("e4m3_dot_gflops");  // not in files of former versions
  return {.dram_read_gbs = from.at("dram_read_gbs").positive(),
          .copy_gbs = from.at("copy_gbs").positive(),
          .fma_gflops = from.at("fma_gflops").positive_or_null().value_or(0),
          .bf16_dot_gflops = from.at("bf16_dot_gflops").number_or_null().value_or(0),
          .e4m3_dot_gflops = e4m3 ? e4m3->number_or_null().value_or(0) : 0};
}

Limits read_limits(const JsonReader& from) {
  return {.max = read_rates(from),
          .median = read_rates(from.at("median")),
          .device = device_of(from),
          .isa = isa_of(from),
          .threads = threads_of(from)};
}

std::string read_gpu(const JsonReader& from) {
  return from.at("device").text() + ": " + from.at("name").text();
}

ResultMachine read_machine(const JsonReader& from) {
  const auto gpus = from.find("gpus");
  return {.cpu = from.at("cpu").text(),
          .system = from.at("system").text(),
          .cpus = from.at("cpus").integer(),
          .memory_bytes = from.at("memory_bytes").number(),
          .l1d_bytes = from.at("l1d_bytes").number(),
          .l2_bytes = from.at("l2_bytes").number(),
          .llc_bytes = from.at("llc_bytes").number(),
          .isa_levels = from.at("isa_levels").list(read_text),
          .gpus = gpus ? gpus->list(read_gpu) : std::vector<std::string>()};
}

ResultCheck read_check(const JsonReader& from) {
  ResultCheck check{.state = from.at("refcheck").text(),
                    .max_abs_err = from.at("max_abs_err").number_or_null(),
                    .max_rel_err = from.at("max_rel_err").number_or_null(),
                    .message = {}};
  if (const auto message = from.find("refcheck_message")) check.message = message->text();
  return check;
}

Bound read_bound(const JsonReader& from) {
  for (Bound bound : {Bound::kMemory, Bound::kCompute})
    if (from.text() == name(bound)) return bound;
  from.expected("memory or compute");
}

ResultRow read_row(const JsonReader& from) {
  ResultRow row;
  row.routine = from.at("routine").text();
  row.backend = from.at("backend").text();
  row.device = from.at("device").text();
  row.isa = isa_of(from);
  row.threads = threads_of(from);
  row.values = from.at("case").members();
  row.flags = from.at("flags").text();
  row.median_ms = from.at("median_ms").positive();
  row.min_ms = from.at("min_ms").positive();
  row.std_ms = from.at("std_ms").number();
  row.num_iters = from.at("num_iters").integer();
  if (row.num_iters == 0) from.at("num_iters").expected("an integer, at least 1");
  row.outliers = from.at("outliers").integer();
  row.instances = from.at("instances").integer();
  row.plan_us = from.at("plan_us").number_or_null();
  row.flops = from.at("flops").number();
  row.read_bytes = from.at("read_bytes").number();
  row.written_bytes = from.at("written_bytes").number();
  row.limits = read_rates(from.at("limits"));
  row.bound = read_bound(from.at("roofline_bound"));
  row.fraction = from.at("roofline_fraction").number();
  row.check = read_check(from);
  row.repro = from.at("repro").text();
  return row;
}

ResultStep read_step(const JsonReader& from) {
  return {.decode = from.at("decode").integer(),
          .prefill = from.at("prefill").integer(),
          .tokens = from.at("tokens").integer(),
          .pages_in_use = from.at("pages_in_use").integer(),
          .append_us = from.at("append_us").number(),
          .plan_us = from.at("plan_us").number(),
          .attention_us = from.at("attention_us").positive(),
          .floor_us = from.at("floor_us").number()};
}

ResultWorkload read_workload(const JsonReader& from) {
  ResultWorkload workload{.name = from.at("workload").text(),
                          .isa = from.at("isa").text(),
                          .threads = from.at("threads").integer(),
                          .values = from.at("case").members(),
                          .num_pages = from.at("num_pages").integer(),
                          .preemptions = from.at("preemptions").integer(),
                          .tokens_per_s = from.at("tokens_per_s").number(),
                          .step_median_ms = from.at("step_median_ms").number(),
                          .step_p99_ms = from.at("step_p99_ms").number(),
                          .plan_median_us = from.at("plan_median_us").number(),
                          .batch_mean = from.at("batch_mean").number(),
                          .fraction = from.at("roofline_fraction").number(),
                          .check = read_check(from),
                          .repro = from.at("repro").text(),
                          .steps = from.at("steps").list(read_step)};
  if (workload.steps.empty()) from.at("steps").expected("a list of at least one step");
  return workload;
}

// nlohmann's text without its "[json.exception.parse_error.101] ".
std::string reason_of(const Json::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

Json parse_json(const std::string& name, std::string_view text) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    fail(ErrorKind::kIo, "{}: {}", name, reason_of(error));
  }
}

}  // namespace

const std::string* find_value(const ResultValues& values, std::string_view name) {
  const auto found =
      std::find_if(values.begin(), values.end(), [&](const auto& value) { return value.first == name; });
  return found == values.end() ? nullptr : &found->second;
}

ResultFile read_result(const std::string& name, std::string_view text) {
  const Json json = parse_json(name, text);
  const JsonReader from(json, name);
  ResultFile file{.name = name,
                  .version = from.at("version").text(),
                  .command = from.at("command").text(),
                  .date = from.at("date").text(),
                  .commit = from.at("commit").text(),
                  .machine = read_machine(from.at("machine")),
                  .before = from.at("limits").at("before").list(read_limits),
                  .after = from.at("limits").at("after").list(read_limits),
                  .rows = from.at("rows").list(read_row),
                  .workload = {}};
  if (const auto workload = from.find("workload")) file.workload = read_workload(*workload);
  return file;
}

ResultFile load_result(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  for (char block[1 << 16]; file.read(block, sizeof block), file.gcount() > 0;)
    text.append(block, static_cast<std::size_t>(file.gcount()));
  if (!file.is_open() || file.bad())
    fail(ErrorKind::kIo, "{}: cannot be read: {}", path, std::strerror(errno));
  return read_result(path, text);
}

}  // namespace strobe::bench
