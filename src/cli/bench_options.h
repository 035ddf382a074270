// What stands on the command line of `strobe bench`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "bench/run_case.h"

namespace strobe::cli {

// Of one case: on the command line, or on a line of a test list.
struct CaseOptions {
  std::string routine;
  std::string device = "cpu";
  std::vector<std::string> isa, backends;
  bench::RunOptions run;
  bool num_iters_given = false;
  std::vector<std::string> notes;  // flags of FlashInfer's that change nothing here, and why
};

struct BenchOptions {
  CaseOptions one;  // for test lists: what holds unless a line says otherwise
  bool list = false;
  std::string suite, testlist, workload, requests;
  int threads = 0;
  std::string json, csv, report;
  bool flashinfer_output = false;
};

void add_case_options(CLI::App& command, CaseOptions& options);
void add_bench_options(CLI::App& command, BenchOptions& options);

}  // namespace strobe::cli
