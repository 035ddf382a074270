// Result files for tests: recorded ones, and small ones made here.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/json_report.h"
#include "bench/result_file.h"

namespace strobe::test {

using bench::Json;

// A file of docs/data, recorded by `strobe bench --json`.
inline Json recorded(const std::string& name) {
  std::ifstream file(std::string(STROBE_SOURCE_DIR) + "/docs/data/" + name);
  EXPECT_TRUE(file) << name;
  return Json::parse(file);
}

inline Json rates_json(double scale = 1) {
  return {{"dram_read_gbs", 80 * scale},
          {"copy_gbs", 100 * scale},
          {"fma_gflops", 500 * scale},
          {"bf16_dot_gflops", 1000 * scale}};
}

// A memory-bound row whose calls took `median_ms` with a standard deviation of `spread` of it.
inline Json row_json(const std::string& routine, double median_ms, double spread,
                     const std::string& flags = "--rows 8", int num_iters = 30) {
  const double floor_ms = 0.5;
  Json values = {{"rows", 8}};
  values["flags"] = flags;
  return {{"routine", routine},
          {"backend", "cpu"},
          {"device", "cpu"},
          {"isa", "avx2"},
          {"threads", 2},
          {"case", values},
          {"flags", flags},
          {"median_ms", median_ms},
          {"min_ms", median_ms * (1 - 0.5 * spread)},
          {"std_ms", median_ms * spread},
          {"num_iters", num_iters},
          {"outliers", 0},
          {"instances", 4},
          {"plan_us", nullptr},
          {"flops", 2e7},
          {"read_bytes", 4e7},
          {"written_bytes", 0},
          {"tflops", 2e-5 / median_ms},
          {"tb_per_sec", 4e-5 / median_ms},
          {"limits", rates_json()},
          {"roofline_bound", "memory"},
          {"roofline_fraction", floor_ms / median_ms},
          {"refcheck", "pass"},
          {"max_abs_err", 0.001},
          {"max_rel_err", 0.002},
          {"repro", "strobe bench --routine " + routine + " " + flags}};
}

inline Json result_json(std::initializer_list<Json> rows) {
  Json level = rates_json();
  level["isa"] = "avx2";
  level["threads"] = 2;
  level["median"] = rates_json();
  Json list = Json::array();
  for (const Json& row : rows) list.push_back(row);
  return {{"version", "0.1.0"},
          {"commit", "abc1234"},
          {"command", "strobe bench --suite quick"},
          {"date", "2026-11-20T09:33:17Z"},
          {"machine",
           {{"cpu", "Example CPU"},
            {"system", "Linux"},
            {"cpus", 2},
            {"memory_bytes", 1 << 30},
            {"l1d_bytes", 32768},
            {"l2_bytes", 1 << 20},
            {"llc_bytes", 1 << 25},
            {"isa_levels", {"portable", "avx2"}}}},
          {"limits", {{"before", {level}}, {"after", {level}}}},
          {"rows", list}};
}

inline bench::ResultFile read_json(const Json& json, const std::string& name = "a.json") {
  return bench::read_result(name, json.dump());
}

}  // namespace strobe::test
