// libcuda, loaded when it is first needed.
#pragma once

#include <string>
#include <string_view>

#include "cuda/driver_api.h"

namespace strobe::cuda {

// The oldest driver that has all we call (libraries and tensor maps came with CUDA 12.0).
inline constexpr int kLeastDriverVersion = 12000;

// What became of loading the driver.
struct DriverStatus {
  std::string problem;  // why it cannot be used; empty when it can
  std::string library;  // what was loaded
  int version = 0;      // 12040 for CUDA 12.4
};

// Loads and initialises the driver on the first call; never throws.
const DriverStatus& driver_status();

// The entry points. Throws Error(kUnsupported) with the reason when the driver cannot be used, Error(kDriver)
// in a child of a process that used CUDA before fork(): the driver does not survive it.
const DriverApi& driver();

// Throws Error(kDriver), or kOutOfMemory, that names call, code and meaning.
void check(Result result, std::string_view call);

// "12.4" for 12040.
std::string version_text(int version);

}  // namespace strobe::cuda
