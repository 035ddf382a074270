#include "bench/backends.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "bench/gpu/gpu_case.h"
#include "core/message.h"
#include "cuda/device.h"

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

std::optional<Backend> find_gpu_backend(std::string_view name) {
  if (name == kAutoGpuBackend) return Backend::kAuto;
  for (Backend backend : {Backend::kCudaSm80, Backend::kCudaSm90})
    if (strobe::name(backend) == name) return backend;
  return {};
}

// Why the backend does not run on that GPU; empty when it does.
std::string gpu_reason(Backend backend, Device gpu) {
  std::string problem = gpu_problem(gpu);
  if (problem.empty() && backend == Backend::kCudaSm90 && !cuda::serves_sm90(gpu))
    problem = fmt::format("{} is an {}{}", to_string(gpu), cuda::name(cuda::architecture_of(gpu)),
                          cuda::sm90_disabled() ? ", and STROBE_DISABLE_SM90 is set" : "");
  return problem;
}

// Why a known name does not run here.
std::string reason(std::string_view name) {
  if (contains(kFlashInferBackends, name)) return "a kernel of FlashInfer's, not a backend of Strobe";
  constexpr std::string_view kCpu = "cpu/";
  if (name.starts_with(kCpu) && contains(kLevelNames, name.substr(kCpu.size())))
    return fmt::format("this machine does not run it; it has {}", machine_labels());
  fail(ErrorKind::kInvalidArgument, "--backends: expected {}, {}, {} or {}, got '{}'", machine_labels(),
       kAutoGpuBackend, strobe::name(Backend::kCudaSm80), strobe::name(Backend::kCudaSm90), name);
}

// The GPU that --device names, or the first.
Device gpu_for(Device device) {
  return device.type == DeviceType::kCuda ? device : Device{DeviceType::kCuda, 0};
}

}  // namespace

std::string backend_label(cpu::Isa level) {
  return fmt::format("{}/{}", strobe::name(Backend::kCpu), cpu::name(level));
}

BackendChoice choose_backends(std::span<const std::string> names, Device device) {
  const bool on_gpu = device.type == DeviceType::kCuda;
  BackendChoice choice;
  choice.gpu = gpu_for(device);
  if (const std::string problem = on_gpu ? gpu_problem(device) : ""; !problem.empty())
    fail(ErrorKind::kUnsupported, "--device {}: {}", to_string(device), problem);
  const auto add = [](auto& list, auto value) {
    if (!contains(list, value)) list.push_back(value);
  };
  const auto leave_out = [&](const std::string& name, std::string_view why) {
    choice.notes.push_back(fmt::format("--backends {}: left out: {}", name, why));
  };
  const auto add_default = [&] {
    on_gpu ? add(choice.gpu_backends, Backend::kAuto) : add(choice.levels, cpu::active_isa());
  };
  for (const std::string& name : names) {
    if (name == "auto") {
      add_default();
    } else if (name == "cpu") {
      add(choice.levels, cpu::active_isa());
    } else if (const std::optional<cpu::Isa> level = find_level(name)) {
      add(choice.levels, *level);
    } else if (const std::optional<Backend> backend = find_gpu_backend(name)) {
      const std::string why = gpu_reason(*backend, choice.gpu);
      why.empty() ? add(choice.gpu_backends, *backend) : leave_out(name, why);
    } else {
      leave_out(name, reason(name));
    }
  }
  if (!choice.levels.empty() || !choice.gpu_backends.empty()) return choice;
  for (const std::string& name : names)
    if (!contains(kFlashInferBackends, name))
      fail(ErrorKind::kUnsupported, "{}", fmt::join(choice.notes, "; "));
  add_default();
  if (!names.empty())
    choice.notes.push_back(fmt::format("running {} in their place",
                                       on_gpu ? to_string(device) : backend_label(choice.levels.front())));
  return choice;
}

}  // namespace strobe::bench
