// A kernel for tests of the JIT: source, headers, and a compiler over a folder of its own.
#pragma once

#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "jit/compiler.h"

namespace strobe::jit {

// out[i] = kFactor * in[i], in a type that kWide chooses.
inline constexpr Header kTinyHeaders[] = {
    {"tiny_params.h", "struct TinyParams { const float* in; float* out; int count; };\n"},
    {"tiny.cuh",
     "#include \"tiny_params.h\"\n"
     "extern \"C\" __global__ void strobe_tiny(const __grid_constant__ TinyParams params) {\n"
     "  const int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
     "  if (i < params.count) params.out[i] = (kWide ? 2.0f : 1.0f) * kFactor * params.in[i];\n"
     "}\n"},
    {"broken.cuh", "#error on purpose\n"},
};

struct TinyParams {
  const float* in;
  float* out;
  int count;
};

inline constexpr int kTinyFactors[] = {1, 2, 3, 5};
inline constexpr int kTinyWide[] = {0, 1};
inline constexpr Constant kTinyConstants[] = {
    {"kFactor", "int", kTinyFactors},
    {"kWide", "bool", kTinyWide, [](int value) { return std::string(value != 0 ? "true" : "false"); }},
};
inline constexpr LaunchFacts tiny_launch(Values, cuda::Architecture) { return {.threads = 128}; }
inline constexpr KernelSource kTiny = {.name = "tiny",
                                       .header = "tiny.cuh",
                                       .types = "",
                                       .constants = kTinyConstants,
                                       .launch_facts = tiny_launch};
inline constexpr KernelSource kBroken = {.name = "broken",
                                         .header = "broken.cuh",
                                         .types = "",
                                         .constants = kTinyConstants,
                                         .launch_facts = tiny_launch};

inline Variant tiny(int factor, bool wide = false,
                    cuda::Architecture architecture = cuda::Architecture::kSm90a) {
  return {&kTiny, {factor, wide}, architecture};
}

// A new folder, removed with its content.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "strobe-test-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = path;
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string path(const std::string& name = "cache") const { return path_ + '/' + name; }

 private:
  std::string path_;
};

// What a compiler said, collected from all threads.
class Messages {
 public:
  Report report() {
    return [this](std::string_view message) {
      const std::lock_guard lock(mutex_);
      text_ += std::string(message) + '\n';
    };
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

// The stand-in of tests/fake/nvrtc.cc.
inline const Nvrtc& fake_nvrtc() {
  static const Nvrtc& fake = *new Nvrtc(STROBE_FAKE_NVRTC);
  return fake;
}

inline CompilerSettings tiny_settings(const std::string& directory, Messages& messages) {
  CompilerSettings settings;
  settings.cache_directory = directory;
  settings.report = messages.report();
  settings.headers = kTinyHeaders;
  settings.nvrtc = fake_nvrtc;
  return settings;
}

}  // namespace strobe::jit
