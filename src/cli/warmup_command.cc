// strobe warmup: compiles kernels into the cache, with or without a GPU.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "bench/progress.h"
#include "bench/rehearse.h"
#include "bench/suites.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/kernel_cache.h"
#include "core/env.h"
#include "core/message.h"
#include "cuda/device.h"
#include "jit/warm_up.h"
#include "strobe/threads.h"

namespace strobe::cli {
namespace {

using jit::Variant;
using jit::WarmUpItem;

struct WarmUpFlags {
  std::vector<std::string> suites;
  std::vector<std::string> architectures;
  int jobs = 0;
  bool all = false;
  bool covering = false;
  bool check = false;
  bool clear_incomplete = false;
  bool disable_sm90 = false;
};

void add_kernels(std::vector<Variant>& all, const std::vector<Variant>& more) {
  for (const Variant& variant : more)
    if (std::find(all.begin(), all.end(), variant) == all.end()) all.push_back(variant);
}

// What the cases of the suites launch.
std::vector<Variant> kernels_of_suites(const std::vector<std::string>& suites,
                                       cuda::Architecture architecture) {
  std::vector<Variant> kernels;
  for (const std::string& suite : suites)
    for (const bench::BenchCase& bench_case : bench::suite_cases(suite))
      add_kernels(kernels, bench::kernels_of(bench_case, architecture));
  return kernels;
}

// Without any choice, what the built-in suites launch: the kernels of real models.
std::vector<Variant> wanted_kernels(const WarmUpFlags& flags) {
  std::vector<std::string> suites = flags.suites;
  if (suites.empty() && !flags.all && !flags.covering)
    for (const std::string_view name : bench::suite_names()) suites.emplace_back(name);
  std::vector<Variant> kernels;
  const std::vector<cuda::Architecture> architectures = wanted_architectures(flags.architectures);
  for (const cuda::Architecture architecture : architectures) {
    add_kernels(kernels, kernels_of_suites(suites, architecture));
    if (flags.all) add_kernels(kernels, jit::library_variants(architecture));
  }
  if (flags.covering)
    for (const jit::KernelSource* source : jit::kernel_registry().all())
      add_kernels(kernels, jit::covering_variants(*source, architectures));
  return kernels;
}

int check_only(jit::Compiler& compiler, const std::vector<Variant>& kernels) {
  std::size_t missing = 0;
  for (const Variant& variant : kernels)
    if (!compiler.is_cached(variant)) {
      ++missing;
      fmt::print("missing: {}\n", jit::describe(variant));
    }
  fmt::print("{} of {} kernels are in {}\n", kernels.size() - missing, kernels.size(),
             compiler.cache().directory());
  return missing == 0 ? kOk : kFailed;
}

std::string bar(std::size_t done, std::size_t total) {
  constexpr std::size_t kWidth = 30;
  const std::size_t full = done * kWidth / total;
  return fmt::format("[{}{}] {}/{}", std::string(full, '#'), std::string(kWidth - full, '.'), done, total);
}

std::string line_of(std::size_t done, std::size_t total, const WarmUpItem& item) {
  const std::string what = jit::describe(item.variant);
  if (!item.error.empty()) return fmt::format("[{}/{}] FAILED {}\n", done, total, item.error);
  if (!item.clean) return fmt::format("[{}/{}] NOT CLEAN {}: {}\n", done, total, what, item.notes);
  if (!item.compiled) return fmt::format("[{}/{}]  cached  {}\n", done, total, what);
  return fmt::format("[{}/{}] {:6.3f} s {}\n", done, total, item.seconds, what);
}

int warm_up(const WarmUpFlags& flags) {
  if (flags.disable_sm90) ::setenv(std::string(env::entry(env::Variable::kDisableSm90).name).c_str(), "1", 1);
  jit::Compiler& compiler = jit::compiler();
  if (const std::string problem = compiler.cache().problem(true); !problem.empty())
    fail(ErrorKind::kIo, "the kernel cache cannot be used: {}", problem);
  if (flags.clear_incomplete) fmt::print("removed {} incomplete files\n", clear_incomplete(compiler.cache()));
  const std::vector<Variant> kernels = wanted_kernels(flags);
  if (flags.check) return check_only(compiler, kernels);

  const int jobs = flags.jobs > 0 ? flags.jobs : num_threads();
  fmt::print("{} kernels into {}, {} at a time\n", kernels.size(), compiler.cache().directory(), jobs);
  bench::Progress progress(bench::Progress::on_terminal());
  const auto start = std::chrono::steady_clock::now();
  const std::vector<WarmUpItem> items =
      jit::warm_up(compiler, kernels, jobs, [&](std::size_t done, std::size_t total, const WarmUpItem& item) {
        progress.clear();
        fmt::print("{}", line_of(done, total, item));
        std::fflush(stdout);
        progress.show(bar(done, total));
      });
  progress.clear();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto count = [&](auto is) { return std::count_if(items.begin(), items.end(), is); };
  const auto failed = count([](const WarmUpItem& item) { return !item.error.empty(); });
  const auto unclean = count([](const WarmUpItem& item) { return item.error.empty() && !item.clean; });
  const auto compiled = count([](const WarmUpItem& item) { return item.compiled; });
  const auto slowest =
      std::max_element(items.begin(), items.end(), [](const WarmUpItem& a, const WarmUpItem& b) {
        return (a.compiled ? a.seconds : 0) < (b.compiled ? b.seconds : 0);
      });
  fmt::print("{} compiled, {} in the cache before, {} failed, {} not clean, in {:.2f} s", compiled,
             static_cast<long>(items.size()) - compiled - failed, failed, unclean, seconds);
  if (compiled > 0)
    fmt::print("; the slowest took {:.3f} s: {}", slowest->seconds, jit::describe(slowest->variant));
  fmt::print("\n");
  return failed == 0 && unclean == 0 ? kOk : kFailed;
}

}  // namespace

void add_warmup(CLI::App& app, Action& action) {
  auto flags = std::make_shared<WarmUpFlags>();
  CLI::App* command = app.add_subcommand(
      "warmup", "Compile CUDA kernels into the cache ahead of time; needs NVRTC, but no GPU");
  command->add_option(
      "--suite", flags->suites,
      fmt::format("What these suites launch (default: all of them): {}, or a FILE.json of your own",
                  fmt::join(bench::suite_names(), ", ")));
  command
      ->add_option(
          "--arch", flags->architectures,
          "Architectures, such as sm_90a,sm_80 (default: STROBE_CUDA_ARCH_LIST, the devices here, or all)")
      ->delimiter(',');
  command
      ->add_option("--jobs", flags->jobs,
                   "Kernels compiled at a time (default: the threads of the CPU backend)")
      ->check(CLI::Range(1, 1024));
  command->add_flag(
      "--covering", flags->covering,
      "Only a set of kernels in which every value of their constants occurs on every architecture, and every "
      "pair of values on one");
  command->add_flag("--check", flags->check,
                    "Compile nothing; list what is missing, exit with 1 when something is");
  command->add_flag("--clear-incomplete", flags->clear_incomplete,
                    "First remove what killed processes have left");
  command->add_flag("--disable-sm90", flags->disable_sm90, "Leave out the kernels of Hopper's own backend");
  command->callback([flags, &action] { action = [flags] { return warm_up(*flags); }; });
}

}  // namespace strobe::cli
