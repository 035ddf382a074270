// What `strobe doctor` finds out about CUDA: driver, devices, compiler, cache, kernels.
#pragma once

#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/driver.h"
#include "jit/nvrtc.h"

namespace strobe::cli {

struct KernelCount {
  cuda::Architecture architecture;
  std::size_t kernels = 0;  // that the library has for it
  std::size_t cached = 0;   // of these
};

struct CudaFindings {
  cuda::DriverStatus driver;
  std::vector<cuda::DeviceFacts> devices;
  jit::NvrtcStatus nvrtc;
  std::string cache_directory;
  std::string cache_problem;  // why it is not used; empty when it is, or when it is not there yet
  std::size_t cache_entries = 0;
  std::size_t cache_incomplete = 0;  // files of compiles that did not end
  std::vector<KernelCount> kernels;  // of the architectures that a warm-up would compile for
};

CudaFindings find_cuda();

}  // namespace strobe::cli
