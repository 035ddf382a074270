#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bench/machine.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "core/env.h"
#include "cpu/isa.h"
#include "strobe/error.h"
#include "strobe/threads.h"

namespace strobe::cli {
namespace {

using bench::bytes_text;

void print_machine(const bench::Machine& machine) {
  std::vector<std::string_view> levels;
  for (cpu::Isa level : machine.isa_levels) levels.push_back(cpu::name(level));
  fmt::print("strobe {}\n\n", STROBE_VERSION);
  fmt::print("{:<10} {}\n{:<10} {}\n", "system", machine.system, "CPU", machine.cpu);
  fmt::print("{:<10} {} for this process\n{:<10} {}\n", "CPUs", machine.cpus, "memory",
             bytes_text(static_cast<double>(machine.memory_bytes)));
  fmt::print("{:<10} L1d {}, L2 {}, last level {}\n", "caches",
             bytes_text(static_cast<double>(machine.caches.l1d)),
             bytes_text(static_cast<double>(machine.caches.l2)),
             bytes_text(static_cast<double>(machine.caches.llc)));
  fmt::print("{:<10} {}\n", "ISA levels", fmt::join(levels, ", "));
}

// What the library makes of the environment; a bad value is a finding, not the end of the report.
template <class F>
bool print_setting(const char* what, F value) {
  try {
    fmt::print("{:<10} {}\n", what, value());
    return true;
  } catch (const Error& error) {
    fmt::print("{:<10} error: {}\n", what, error.what());
    return false;
  }
}

void print_environment() {
  fmt::print("\nenvironment\n");
  for (const env::Entry& entry : env::table()) {
    const std::optional<std::string> value = env::text(entry.variable);
    fmt::print("  {:<20} {}\n  {:<20} {} (values: {}; default: {})\n", entry.name, value ? *value : "not set",
               "", entry.meaning, entry.values, entry.default_value);
  }
  for (const std::string& unknown : env::unknown())
    fmt::print("  {:<20} warning: Strobe knows no such variable\n", unknown);
}

int doctor() {
  print_machine(bench::this_machine());
  bool healthy = print_setting("active", [] { return cpu::name(cpu::active_isa()); });
  healthy &= print_setting("threads", [] { return num_threads(); });
  print_environment();
  return healthy ? kOk : kFailed;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("doctor", "Show this machine as Strobe sees it, and every STROBE_* variable");
  command->callback([&action] { action = doctor; });
}

}  // namespace strobe::cli
