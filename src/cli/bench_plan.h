// From the command line of `strobe bench` to what is to run.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/session.h"
#include "cli/bench_options.h"

namespace strobe::cli {

struct BenchPlan {
  bench::SessionPlan session;
  std::vector<std::string> notes;   // what has no effect or is left out, and why; each once
  std::vector<std::string> errors;  // of lines of a test list; the others run

  bool empty() const { return session.cases.empty() && !session.workload; }
};

// `extra_words` are the flags of the routine or workload. Throws Error.
BenchPlan make_plan(const BenchOptions& options, std::span<const std::string> extra_words);

}  // namespace strobe::cli
