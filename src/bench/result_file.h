// A result file of `strobe bench --json`, read back: what the report page and `bench compare` work on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/json_report.h"
#include "bench/limits.h"
#include "bench/roofline.h"

namespace strobe::bench {

struct ResultMachine {
  std::string cpu, system;
  int cpus = 0;
  double memory_bytes = 0, l1d_bytes = 0, l2_bytes = 0, llc_bytes = 0;
  std::vector<std::string> isa_levels;
  std::vector<std::string> gpus;  // "cuda:0: NVIDIA H200", of those that cases ran on
};

// Parameters of a case or workload by name, as text.
using ResultValues = std::vector<std::pair<std::string, std::string>>;
const std::string* find_value(const ResultValues& values, std::string_view name);

struct ResultCheck {
  std::string state;  // "pass", "fail", "skipped"
  std::optional<double> max_abs_err, max_rel_err;
  std::string message;  // of a failed check
};

struct ResultRow {
  std::string routine, backend, device, isa;  // isa of a GPU: its architecture
  int threads = 0;                            // 0 on a GPU
  ResultValues values;
  std::string flags;  // the case as it was written
  double median_ms = 0, min_ms = 0, std_ms = 0;
  int num_iters = 0, outliers = 0, instances = 0;
  std::optional<double> plan_us;
  double flops = 0, read_bytes = 0, written_bytes = 0;
  LimitRates limits;
  Bound bound = Bound::kMemory;
  double fraction = 0;  // of the limit
  ResultCheck check;
  std::string repro;

  double bytes() const { return read_bytes + written_bytes; }
  double gbs() const { return bytes() / median_ms * 1e-6; }
  double gflops() const { return flops / median_ms * 1e-6; }
};

struct ResultStep {
  int decode = 0, prefill = 0, tokens = 0, pages_in_use = 0;
  double append_us = 0, plan_us = 0, attention_us = 0, floor_us = 0;
  double layer_us() const { return append_us + attention_us; }
};

struct ResultWorkload {
  std::string name, isa;
  int threads = 0;
  ResultValues values;
  int num_pages = 0;
  int preemptions = 0;
  double tokens_per_s = 0, step_median_ms = 0, step_p99_ms = 0, plan_median_us = 0, batch_mean = 0;
  double fraction = 0;
  ResultCheck check;
  std::string repro;
  std::vector<ResultStep> steps;
};

struct ResultFile {
  std::string name;  // of the file, for messages
  std::string version, command, date, commit;
  ResultMachine machine;
  std::vector<Limits> before, after;  // of the run, by level
  std::vector<ResultRow> rows;
  std::optional<ResultWorkload> workload;
};

// Errors are Error(kIo) and name the file: with line and column where the text is no JSON, with the field's
// path, what was expected and what is there where it is not a result file: "a.json: rows[3].median_ms:
// expected a number above 0, got null".
ResultFile read_result(const std::string& name, std::string_view text);
ResultFile load_result(const std::string& path);

}  // namespace strobe::bench
