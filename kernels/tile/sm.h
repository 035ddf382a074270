// What the architectures differ in that a kernel's launch bounds depend on.
#pragma once

namespace strobe::kernel {

// Threads that an SM holds at most.
#if __CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 900 || __CUDA_ARCH__ == 1000
inline constexpr int kMostSmThreads = 2048;
#else
inline constexpr int kMostSmThreads = 1536;
#endif

}  // namespace strobe::kernel
