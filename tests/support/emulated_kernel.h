// Kernels that a test writes itself, for the emulated GPU of tests/fake.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/library.h"
#include "jit/embedded_headers.h"
#include "jit/nvrtc.h"
#include "strobe/error.h"

namespace strobe::emulated {

inline constexpr Device kGpu{DeviceType::kCuda, 0};
inline constexpr int kThreads = 128;

struct Params {
  const float* in;
  float* out;
  int count;
};

inline constexpr char kPrologue[] = R"(
#include "ptx/async_copy.h"
#include "ptx/atomic.h"
#include "ptx/cluster.h"
#include "ptx/convert.h"
#include "ptx/dependency.h"
#include "ptx/exponent.h"
#include "ptx/matrix.h"
#include "ptx/memory.h"
#include "ptx/mma.h"
#include "ptx/shuffle.h"
struct Params { const float* in; float* out; int count; };
using namespace strobe::kernel;
extern "C" __global__ void __launch_bounds__(128) strobe_test(const __grid_constant__ Params params) {
  const int i = threadIdx.x;
)";

inline jit::NvrtcOutput compile(const std::string& source) {
  static const jit::Nvrtc nvrtc(STROBE_EMULATED_NVRTC);
  return nvrtc.compile(
      {source, "test.cu", jit::embedded_headers(), "", {"--gpu-architecture=sm_90a", "--std=c++20"}});
}

// A kernel with that body, which knows its thread as `i`.
inline cuda::Kernel kernel(const std::string& body, int shared_bytes = 0) {
  const jit::NvrtcOutput output = compile(kPrologue + body + "\n}\n");
  EXPECT_TRUE(output.compiled) << output.log;
  return cuda::load_kernel(
      output.cubin,
      {.name = "test", .entry = "strobe_test", .threads = kThreads, .shared_bytes = shared_bytes}, 0);
}

// in: 0, 1, …; out: as many floats of -1.
struct Buffers {
  explicit Buffers(int count)
      : in(kGpu, bytes(count)), out(kGpu, bytes(count)), values(static_cast<std::size_t>(count)) {
    std::iota(values.begin(), values.end(), 0.0f);
    in.upload(std::as_bytes(std::span(values)));
    const std::vector<float> unwritten(values.size(), -1.0f);
    out.upload(std::as_bytes(std::span(unwritten)));
  }
  static std::size_t bytes(int count) { return static_cast<std::size_t>(count) * sizeof(float); }
  Params params() const {
    return {static_cast<const float*>(in.data()), static_cast<float*>(out.data()),
            static_cast<int>(values.size())};
  }
  std::vector<float> result() const {
    std::vector<float> fetched(values.size());
    out.download(std::as_writable_bytes(std::span(fetched)));
    return fetched;
  }
  cuda::DeviceBuffer in, out;
  std::vector<float> values;
};

inline std::vector<float> run(const std::string& body, const cuda::LaunchConfig& config = {},
                              int count = kThreads) {
  const Buffers buffers(count);
  cuda::launch(kernel(body, std::max(config.shared_bytes, 0)), config, buffers.params());
  return buffers.result();
}

// What the driver says of a kernel that does what it may not.
inline std::string fault_of(const std::string& body, const cuda::LaunchConfig& config = {},
                            int count = kThreads) {
  try {
    run(body, config, count);
  } catch (const Error& error) {
    return error.what();
  }
  return "no fault";
}

}  // namespace strobe::emulated
