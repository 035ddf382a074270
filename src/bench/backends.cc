#include "bench/backends.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "core/message.h"
#include "strobe/device.h"

namespace strobe::bench {
namespace {

// Every level of every architecture, so that a name from another machine gets a reason.
constexpr std::string_view kLevelNames[] = {"portable", "avx2", "avx512", "avx512_bf16", "neon", "neon_bf16"};

// --backends of FlashInfer's benchmark, "auto" aside.
constexpr std::string_view kFlashInferBackends[] = {
    "fa2",      "fa2_tc",         "fa3",        "cudnn",    "cudnn-native",
    "cutlass",  "trtllm",         "trtllm-gen", "prims-ts", "trtllm-native",
    "cute-dsl", "trtllm-fmha-v2", "cuda",       "cublas",   "trtllm-gen-native",
    "cublaslt", "triton",         "flashinfer", "fla",      "trtllm_low_latency",
    "prims_ts", "cute-dsl-prims", "xqa"};

template <class Range, class Value>
bool contains(const Range& range, const Value& value) {
  return std::find(std::begin(range), std::end(range), value) != std::end(range);
}

std::vector<cpu::Isa> machine_levels() {
  std::vector<cpu::Isa> levels;
  for (int i = 0; i < cpu::kIsaCount; ++i)
    if (cpu::supported(static_cast<cpu::Isa>(i))) levels.push_back(static_cast<cpu::Isa>(i));
  return levels;
}

std::optional<cpu::Isa> find_level(std::string_view name) {
  for (cpu::Isa level : machine_levels())
    if (backend_label(level) == name) return level;
  return {};
}

std::string machine_labels() {
  std::vector<std::string> labels;
  for (cpu::Isa level : machine_levels()) labels.push_back(backend_label(level));
  return fmt::format("cpu, {}", fmt::join(labels, ", "));
}

bool is_cuda(std::string_view name) {
  return name.starts_with("cuda/") || name == "gpu" || name.starts_with("cuda:");
}

// Why a known name does not run here.
std::string reason(std::string_view name) {
  if (contains(kFlashInferBackends, name)) return "a kernel of FlashInfer's, not a backend of Strobe";
  if (is_cuda(name)) return "this benchmark runs on the CPU; there is no CUDA backend in it";
  constexpr std::string_view kCpu = "cpu/";
  if (name.starts_with(kCpu) && contains(kLevelNames, name.substr(kCpu.size())))
    return fmt::format("this machine does not run it; it has {}", machine_labels());
  fail(ErrorKind::kInvalidArgument, "--backends: expected {}, got '{}'", machine_labels(), name);
}

}  // namespace

std::string backend_label(cpu::Isa level) {
  return fmt::format("{}/{}", strobe::name(Backend::kCpu), cpu::name(level));
}

BackendChoice choose_backends(std::span<const std::string> names) {
  BackendChoice choice;
  const auto add = [&](cpu::Isa level) {
    if (!contains(choice.levels, level)) choice.levels.push_back(level);
  };
  for (const std::string& name : names) {
    if (name == "cpu" || name == "auto")
      add(cpu::active_isa());
    else if (const std::optional<cpu::Isa> level = find_level(name))
      add(*level);
    else
      choice.notes.push_back(fmt::format("--backends {}: left out: {}", name, reason(name)));
  }
  if (!choice.levels.empty()) return choice;
  for (const std::string& name : names)
    if (!contains(kFlashInferBackends, name))
      fail(ErrorKind::kUnsupported, "{}", fmt::join(choice.notes, "; "));
  add(cpu::active_isa());
  if (!names.empty())
    choice.notes.push_back(fmt::format("running {} in their place", backend_label(choice.levels.front())));
  return choice;
}

}  // namespace strobe::bench
