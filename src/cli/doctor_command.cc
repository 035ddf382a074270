#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "bench/machine.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/cuda_findings.h"
#include "core/env.h"
#include "cpu/isa.h"
#include "ops/attention_decode_cuda.h"
#include "ops/attention_prefill_cuda.h"
#include "strobe/error.h"
#include "strobe/threads.h"

namespace strobe::cli {
namespace {

using bench::bytes_text;
using Json = nlohmann::ordered_json;

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
  std::size_t width = 0;
  for (const env::Entry& entry : env::table()) width = std::max(width, entry.name.size());
  for (const env::Entry& entry : env::table()) {
    const std::optional<std::string> value = env::text(entry.variable);
    fmt::print("  {:<{}} {}\n  {:<{}} {} (values: {}; default: {}{})\n", entry.name, width,
               value ? *value : "not set", "", width, entry.meaning, entry.values, entry.default_value,
               entry.also.empty() ? "" : fmt::format("; also taken: {}", entry.also));
  }
  for (const std::string& unknown : env::unknown())
    fmt::print("  {:<{}} warning: Strobe knows no such variable\n", unknown, width);
}

std::string or_problem(const std::string& problem, const std::string& otherwise) {
  return problem.empty() ? otherwise : "not usable: " + problem;
}

void print_cuda(const CudaFindings& found) {
  fmt::print("\nCUDA\n  {:<8} {}\n", "driver",
             or_problem(found.driver.problem, fmt::format("{}, for CUDA {}", found.driver.library,
                                                          cuda::version_text(found.driver.version))));
  for (const cuda::DeviceFacts& device : found.devices)
    fmt::print(
        "  {:<8} {}, compute capability {}.{}{}, {} SMs, {}\n", fmt::format("cuda:{}", device.ordinal),
        device.name, device.capability_major, device.capability_minor,
        device.architecture ? fmt::format(" ({})", cuda::name(*device.architecture)) : ", not supported",
        device.sm_count, bytes_text(static_cast<double>(device.memory_bytes)));
  fmt::print("  {:<8} {}\n", "NVRTC",
             or_problem(found.nvrtc.problem, fmt::format("{} ({})", cuda::version_text(found.nvrtc.version),
                                                         found.nvrtc.library)));
  fmt::print("  {:<8} {}\n", "cache",
             or_problem(found.cache_problem,
                        fmt::format("{}: {} kernels, {} incomplete files", found.cache_directory,
                                    found.cache_entries, found.cache_incomplete)));
  for (const KernelCount& count : found.kernels)
    fmt::print(
        "  {:<8} {} kernels, {} of them in the cache; `strobe warmup --arch {}` adds those of common "
        "models\n",
        cuda::name(count.architecture), count.kernels, count.cached, cuda::name(count.architecture));
  for (const KernelCount& count : found.kernels)
    fmt::print(
        "  {:<8} decode attention of f16 and bf16 is fast for head dimensions {}; others take the generic "
        "kernels: "
        "STROBE_LOGLEVEL=3 names those of each run\n",
        cuda::name(count.architecture), op::decode_head_dims(count.architecture));
  if (!found.kernels.empty())
    fmt::print(
        "  {:<8} attention variants run on tensor cores for f16 and bf16 queries and head dimensions up "
        "to {}, others on CUDA cores\n",
        "", op::kMostVariantDims);
}

Json version_json(int version) { return version == 0 ? Json(nullptr) : Json(cuda::version_text(version)); }

Json cuda_json(const CudaFindings& found) {
  Json devices = Json::array(), kernels = Json::array();
  for (const cuda::DeviceFacts& device : found.devices)
    devices.push_back(
        {{"device", fmt::format("cuda:{}", device.ordinal)},
         {"name", device.name},
         {"compute_capability", fmt::format("{}.{}", device.capability_major, device.capability_minor)},
         {"architecture", device.architecture ? Json(cuda::name(*device.architecture)) : Json(nullptr)},
         {"sm_count", device.sm_count},
         {"memory_bytes", device.memory_bytes},
         {"l2_bytes", device.l2_bytes}});
  for (const KernelCount& count : found.kernels)
    kernels.push_back({{"architecture", cuda::name(count.architecture)},
                       {"kernels", count.kernels},
                       {"cached", count.cached}});
  return {{"driver",
           {{"problem", found.driver.problem},
            {"library", found.driver.library},
            {"cuda_version", version_json(found.driver.version)}}},
          {"devices", devices},
          {"nvrtc",
           {{"problem", found.nvrtc.problem},
            {"library", found.nvrtc.library},
            {"version", version_json(found.nvrtc.version)},
            {"searched", found.nvrtc.searched}}},
          {"cache",
           {{"directory", found.cache_directory},
            {"problem", found.cache_problem},
            {"entries", found.cache_entries},
            {"incomplete_files", found.cache_incomplete}}},
          {"kernels", kernels}};
}

// A setting as JSON: its value, or the error.
template <class F>
Json setting_json(bool& healthy, F value) {
  try {
    return {{"value", value()}};
  } catch (const Error& error) {
    healthy = false;
    return {{"error", error.what()}};
  }
}

int doctor_json() {
  const bench::Machine machine = bench::this_machine();
  Json levels = Json::array(), variables = Json::object();
  for (cpu::Isa level : machine.isa_levels) levels.push_back(cpu::name(level));
  for (const env::Entry& entry : env::table()) {
    const std::optional<std::string> value = env::text(entry.variable);
    variables[std::string(entry.name)] = value ? Json(*value) : Json(nullptr);
  }
  bool healthy = true;
  const Json report = {{"strobe", STROBE_VERSION},
                       {"system", machine.system},
                       {"cpu",
                        {{"name", machine.cpu},
                         {"cpus", machine.cpus},
                         {"memory_bytes", machine.memory_bytes},
                         {"isa_levels", levels},
                         {"active_isa", setting_json(healthy, [] { return cpu::name(cpu::active_isa()); })},
                         {"threads", setting_json(healthy, [] { return num_threads(); })}}},
                       {"cuda", setting_json(healthy, [] { return cuda_json(find_cuda()); })},
                       {"environment", variables},
                       {"unknown_variables", env::unknown()}};
  fmt::print("{}\n", report.dump(1));
  return healthy ? kOk : kFailed;
}

int doctor() {
  print_machine(bench::this_machine());
  bool healthy = print_setting("active", [] { return cpu::name(cpu::active_isa()); });
  healthy &= print_setting("threads", [] { return num_threads(); });
  try {
    print_cuda(find_cuda());
  } catch (const Error& error) {
    fmt::print("\nCUDA\n  error: {}\n", error.what());
    healthy = false;
  }
  print_environment();
  return healthy ? kOk : kFailed;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("doctor",
                                         "Show this machine, its GPUs, compiler and kernel cache as Strobe "
                                         "sees them, and every STROBE_* variable");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "As JSON");
  command->callback([&action, json] { action = [json] { return *json ? doctor_json() : doctor(); }; });
}

}  // namespace strobe::cli
