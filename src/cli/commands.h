// The subcommands: each adds itself to the command line and, when it was given, sets `action`, whose result
// is the exit status.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <span>
#include <string>

namespace strobe::cli {

using Action = std::function<int()>;

// `words` are all of the command line, as result files name it.
void add_bench(CLI::App& app, std::span<const std::string> words, Action& action);
// Under `bench`.
void add_bench_compare(CLI::App& bench, Action& action);
void add_bench_report(CLI::App& bench, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_docs(CLI::App& app, Action& action);
void add_replay(CLI::App& app, Action& action);
void add_warmup(CLI::App& app, Action& action);
void add_cache(CLI::App& app, Action& action);
void add_trace(CLI::App& app, Action& action);
// Under `trace`.
void add_trace_explain(CLI::App& trace, Action& action);
void add_trace_run(CLI::App& trace, Action& action);

}  // namespace strobe::cli
