// The subcommands: each adds itself to the command line and, when it was given, sets `action`, whose result
// is the exit status.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace strobe::cli {

using Action = std::function<int()>;

void add_bench(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_docs(CLI::App& app, Action& action);
void add_warmup(CLI::App& app, Action& action);
void add_cache(CLI::App& app, Action& action);

}  // namespace strobe::cli
