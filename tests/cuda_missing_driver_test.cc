// A machine without an NVIDIA driver.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/device.h"
#include "cuda/driver.h"
#include "strobe/error.h"

namespace strobe::cuda {
namespace {

TEST(CudaMissingDriver, IsAnErrorThatSaysSo) {
  if (!driver_status().library.empty()) GTEST_SKIP() << "this machine has " << driver_status().library;
  EXPECT_EQ(device_count(), 0);
  try {
    device_facts({DeviceType::kCuda, 0});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("CUDA: no NVIDIA driver was found (libcuda.so.1: "));
  }
}

}  // namespace
}  // namespace strobe::cuda
