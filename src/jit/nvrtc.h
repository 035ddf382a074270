// NVRTC, NVIDIA's run-time compiler: found, loaded, called.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cuda/architecture.h"
#include "jit/embedded_headers.h"

namespace strobe::jit {

// Where NVRTC came from, or where it was looked for.
struct NvrtcStatus {
  std::string problem;  // why there is none; empty when it can be used
  std::string library;  // the file
  int version = 0;      // 13000 for 13.0
  std::vector<std::string> searched;
};

// One compile. `name` is what diagnostics call the file. When `include_directory` is not empty, headers are
// read from there (so that debuggers find them), else from `headers`.
struct NvrtcProgram {
  std::string source;
  std::string name;
  std::span<const Header> headers;
  std::string include_directory;
  std::vector<std::string> options;
};

struct NvrtcOutput {
  bool compiled = false;
  std::string cubin;
  std::string log;
};

class Nvrtc {
 public:
  // Loads the library at `path`, or, when it is empty, the first one found: one that the process has loaded
  // already, CUDA_HOME and CUDA_PATH, the loader's own search, /usr/local/cuda*, and the pip packages
  // nvidia-cuda-nvrtc (folders nvidia/cuda_nvrtc and nvidia/cu13) of the Python environments around. Never
  // throws.
  explicit Nvrtc(const std::string& path = "");

  const NvrtcStatus& status() const { return status_; }
  // Whether this version compiles for the architecture.
  bool supports(cuda::Architecture architecture) const;
  // Safe from several threads at once. Throws Error(kUnsupported) with the places searched when there is no
  // NVRTC.
  NvrtcOutput compile(const NvrtcProgram& program) const;

 private:
  struct Api;
  std::string load(const std::string& path);

  NvrtcStatus status_;
  std::shared_ptr<const Api> api_;
  std::vector<int> architectures_;  // 90 for sm_90 and sm_90a
};

// The process's NVRTC, by STROBE_NVRTC; loaded on the first call.
const Nvrtc& nvrtc();

}  // namespace strobe::jit
