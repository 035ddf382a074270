// The host side of CUDA calls, against the stand-in driver of tests/fake/cuda.cc and the stand-in compiler:
// contexts, launches, loading under capture, and what goes wrong.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/driver.h"
#include "cuda/event.h"
#include "cuda/library.h"
#include "cuda/tensor_map.h"
#include "jit/kernels.h"
#include "jit/rehearsal.h"
#include "strobe/error.h"
#include "support/tiny_kernel.h"

namespace strobe::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Device kGpu{DeviceType::kCuda, 0};
constexpr Device kOldGpu{DeviceType::kCuda, 1};

template <class F>
std::string error_of(ErrorKind kind, F call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no error";
}

// Every test is a process of its own under ctest, so it may choose the environment of the library.
class CudaDriver : public ::testing::Test {
 protected:
  CudaDriver() {
    ::setenv("STROBE_CACHE_DIR", folder.path().c_str(), 1);
    ::setenv("STROBE_NVRTC", STROBE_FAKE_NVRTC, 1);
  }
  // What the driver was asked since the last time.
  static std::string calls() {
    void* library = ::dlopen("libcuda.so.1", RTLD_NOW);
    EXPECT_NE(library, nullptr) << ::dlerror();
    return reinterpret_cast<const char* (*)()>(::dlsym(library, "fakeCudaCalls"))();
  }
  jit::TemporaryFolder folder;
};

Kernel fake_kernel(int shared_bytes = 0) {
  return load_kernel(std::string_view("\x7f"
                                      "ELF"),
                     {.name = "tiny", .entry = "strobe_tiny", .threads = 128, .shared_bytes = shared_bytes},
                     0);
}

TEST_F(CudaDriver, DevicesAndTheirFacts) {
  EXPECT_EQ(device_count(), 2);
  EXPECT_EQ(device_facts(kGpu).name, "Fake GPU 0");
  EXPECT_EQ(device_facts(kGpu).sm_count, 132);
  EXPECT_EQ(architecture_of(kGpu), Architecture::kSm90a);
  EXPECT_EQ(error_of(ErrorKind::kInvalidArgument,
                     [] {
                       device_facts({DeviceType::kCuda, 2});
                     }),
            "device cuda:2: this process sees 2 CUDA devices");
  EXPECT_EQ(error_of(ErrorKind::kInvalidArgument, [] { device_facts({}); }),
            "device cpu: expected a CUDA device");
  EXPECT_EQ(error_of(ErrorKind::kUnsupported, [] { architecture_of(kOldGpu); }),
            "device cuda:1 (Fake GPU 1) has compute capability 7.5; Strobe has kernels for sm_80, sm_86, "
            "sm_89, sm_90a, "
            "sm_100a, sm_120a");
}

TEST_F(CudaDriver, HopperCodeRunsOnHopper) {
  EXPECT_TRUE(serves_sm90(kGpu));
  EXPECT_FALSE(serves_sm90(kOldGpu));
}

TEST_F(CudaDriver, HopperCodeCanBeSwitchedOff) {
  ::setenv("STROBE_DISABLE_SM90", "1", 1);
  EXPECT_FALSE(serves_sm90(kGpu));
}

TEST_F(CudaDriver, ContextsAreRetainedOnceAndTheCallersIsRestored) {
  const DriverApi& api = driver();
  ContextHandle before = nullptr, inside = nullptr, after = nullptr;
  {
    const ContextGuard outer(1);
    api.cuCtxGetCurrent(&before);
    {
      const ContextGuard inner(0);
      api.cuCtxGetCurrent(&inside);
    }
    api.cuCtxGetCurrent(&after);
  }
  EXPECT_NE(before, inside);
  EXPECT_EQ(before, after);
  api.cuCtxGetCurrent(&after);
  EXPECT_EQ(after, nullptr);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([] {
      for (int round = 0; round < 100; ++round) const ContextGuard guard(round % 2);
    });
  threads.clear();
  const auto retained =
      reinterpret_cast<int (*)(int)>(::dlsym(::dlopen("libcuda.so.1", RTLD_NOW), "fakeCudaRetained"));
  EXPECT_EQ(retained(0), 1);
  EXPECT_EQ(retained(1), 1);
}

TEST_F(CudaDriver, LaunchPassesEverythingOn) {
  const Kernel kernel = fake_kernel(100000);
  EXPECT_EQ(calls(), "load\nkernel strobe_tiny\n");
  launch(kernel, {.grid = {3, 2, 1}}, jit::TinyParams{nullptr, nullptr, 7});
  EXPECT_EQ(calls(), "launch device 0 grid 3,2,1 block 128,1,1 shared 100000 count 7\n");
  launch(kernel,
         {.grid = {4},
          .block = {64, 2, 1},
          .cluster = {2},
          .shared_bytes = 16,
          .pdl = true,
          .cooperative = true},
         jit::TinyParams{nullptr, nullptr, 8});
  EXPECT_EQ(calls(),
            "launch device 0 grid 4,1,1 block 64,2,1 shared 16 cluster 2,1,1 attribute 6=1 attribute 2=1 "
            "count 8\n");
  launch(kernel, {.grid = {0}}, jit::TinyParams{});
  EXPECT_EQ(calls(), "") << "an empty grid is no launch";
}

TEST_F(CudaDriver, LaunchErrorsNameKernelGridAndMeaning) {
  const Kernel kernel = fake_kernel();
  EXPECT_EQ(error_of(ErrorKind::kDriver,
                     [&] { launch(kernel, {.grid = {1}, .shared_bytes = 300000}, jit::TinyParams{}); }),
            "tiny on cuda:0, grid 1x1x1, block 128x1x1, 300000 bytes of dynamic shared memory: CUDA: "
            "cuLaunchKernelEx: "
            "CUDA_ERROR_FAKE (1): as the test wants it");
  EXPECT_EQ(error_of(ErrorKind::kInvalidArgument, [&] { launch(kernel, {}, 1); }),
            "tiny: the host passes 4 bytes of parameters, the kernel takes 24");
  EXPECT_THAT(
      error_of(ErrorKind::kDriver, [] { fake_kernel(300000); }),
      AllOf(HasSubstr("tiny cannot be loaded on cuda:0 (driver for CUDA 13.0)"), HasSubstr("300000 bytes")));
  EXPECT_THAT(
      error_of(ErrorKind::kDriver,
               [] { load_kernel(std::string_view("no code"), {.name = "tiny", .entry = "strobe_tiny"}, 0); }),
      HasSubstr("cuLibraryLoadData"));
}

TEST_F(CudaDriver, BuffersCopyAndCheckRanges) {
  DeviceBuffer buffer(kGpu, 8);
  buffer.fill(0x5A);
  const std::byte in[4] = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  buffer.upload(in, 2);
  std::byte out[8];
  buffer.download(out);
  EXPECT_EQ(out[1], std::byte{0x5A});
  EXPECT_EQ(out[2], std::byte{1});
  EXPECT_EQ(out[5], std::byte{4});
  EXPECT_EQ(error_of(ErrorKind::kInvalidArgument, [&] { buffer.upload(in, 5); }),
            "device buffer of 8 bytes: bytes 5 to 9 are outside");
  DeviceBuffer moved = std::move(buffer);
  EXPECT_EQ(moved.bytes(), 8u);
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_THAT(error_of(ErrorKind::kOutOfMemory, [] { DeviceBuffer(kGpu, std::size_t{1} << 40); }),
              HasSubstr("1099511627776 bytes on cuda:0 (12345 bytes are free)"));
}

TEST_F(CudaDriver, EventsMeasure) {
  Event start(kGpu), end(kGpu);
  EXPECT_FALSE(start.done());
  start.record({});
  end.record({});
  end.wait();
  EXPECT_TRUE(end.done());
  EXPECT_EQ(milliseconds_between(start, end), 1.5);
}

TensorMapRequest tensor_request(const void* address) {
  return {.address = address,
          .type = TensorMapType::kBf16,
          .rank = 2,
          .sizes = {128, 1000},
          .strides_bytes = {256},
          .box = {64, 128},
          .swizzle = TensorMapSwizzle::k128Bytes};
}

TEST_F(CudaDriver, TensorMapsAreRememberedByThread) {
  alignas(16) static const char memory[64] = {};
  const TensorMap first = tensor_map(tensor_request(memory));
  EXPECT_EQ(calls(), "encode\n");
  EXPECT_EQ(tensor_map(tensor_request(memory)).opaque[0], first.opaque[0]);
  EXPECT_EQ(calls(), "");
  TensorMapRequest other = tensor_request(memory);
  other.swizzle = TensorMapSwizzle::kNone;
  tensor_map(other);
  EXPECT_EQ(tensor_map(tensor_request(memory + 16)).opaque[0], first.opaque[0] + 16);
  EXPECT_EQ(calls(), "encode\nencode\n");
}

TEST_F(CudaDriver, TensorMapErrorsNameTheRule) {
  alignas(16) static const char memory[64] = {};
  const auto message = [&](auto change) {
    TensorMapRequest request = tensor_request(memory);
    change(request);
    return error_of(ErrorKind::kInvalidArgument, [&] { tensor_map(request); });
  };
  EXPECT_THAT(message([&](auto& r) { r.address = memory + 8; }),
              HasSubstr("address must be a multiple of 16 bytes"));
  EXPECT_EQ(message([](auto& r) { r.rank = 6; }), "tensor map: rank must be 1 to 5, got 6");
  EXPECT_EQ(message([](auto& r) { r.strides_bytes[0] = 264; }),
            "tensor map: strides must be multiples of 16 bytes below 2^40, got 264");
  EXPECT_EQ(message([](auto& r) { r.box[1] = 257; }), "tensor map: box sizes must be 1 to 256, got 257");
  EXPECT_EQ(message([](auto& r) { r.sizes[1] = 0; }), "tensor map: sizes must be 1 to 2^32, got 0");
  EXPECT_EQ(message([](auto& r) { r.box[0] = 4; }),
            "tensor map: the innermost box axis must be a multiple of 16 bytes, got 8");
  EXPECT_EQ(message([](auto& r) { r.box[0] = 128; }),
            "tensor map: the innermost box axis must not exceed the swizzle span in bytes, got 256");
}

// jit::get compiles with the embedded headers, of which the stand-in compiler needs none.
TEST_F(CudaDriver, GetLoadsOnceAndThenFindsIt) {
  const Kernel& kernel = jit::get(jit::kTiny, {2, 1}, kGpu, {});
  EXPECT_EQ(kernel.name, "tiny(kFactor = 2, kWide = true) for sm_90a");
  EXPECT_EQ(kernel.threads, 128);
  EXPECT_EQ(kernel.params_bytes, sizeof(jit::TinyParams));
  EXPECT_EQ(calls(), "load\nkernel strobe_tiny\n");
  EXPECT_EQ(&jit::get(jit::kTiny, {2, 1}, kGpu, {}), &kernel);
  EXPECT_EQ(calls(), "");
  EXPECT_NE(&jit::get(jit::kTiny, {2, 0}, kGpu, {}), &kernel);
}

TEST_F(CudaDriver, GetFromManyThreads) {
  std::vector<const Kernel*> kernels(16 * 8);
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < 16; ++thread)
    threads.emplace_back([&, thread] {
      for (std::size_t i = 0; i < 8; ++i)
        kernels[thread * 8 + i] =
            &jit::get(jit::kTiny, {jit::kTinyFactors[i % 4], static_cast<int>(i / 4)}, kGpu, {});
    });
  threads.clear();
  for (std::size_t i = 0; i < kernels.size(); ++i) EXPECT_EQ(kernels[i], kernels[i % 8]);
}

TEST_F(CudaDriver, GetNamesWhatIsWrong) {
  EXPECT_EQ(error_of(ErrorKind::kInvalidArgument,
                     [] {
                       jit::get(jit::kTiny, {4, 0}, kGpu, {});
                     }),
            "tiny(kFactor = 4, kWide = false) for sm_90a: there is no such kernel; its source declares which "
            "there are");
  EXPECT_EQ(error_of(ErrorKind::kInvalidArgument, [] { jit::get(jit::kTiny, {1}, kGpu, {}); }),
            "kernel tiny: 1 values for 2 constants");
  EXPECT_THAT(error_of(ErrorKind::kInvalidArgument,
                       [] {
                         jit::get(jit::kTiny, {1, 0}, {DeviceType::kCuda, 5}, {});
                       }),
              HasSubstr("device cuda:5: this process sees 2 CUDA devices"));
  EXPECT_THAT(error_of(ErrorKind::kUnsupported,
                       [] {
                         jit::get(jit::kTiny, {1, 0}, kOldGpu, {});
                       }),
              HasSubstr("compute capability 7.5"));
}

TEST_F(CudaDriver, CodeOfACompilerNewerThanTheDriverIsExplained) {
  ::setenv("FAKE_CUDA_VERSION", "12080", 1);
  ::setenv("FAKE_CUDA_REFUSE", "1", 1);
  EXPECT_THAT(
      error_of(ErrorKind::kDriver,
               [] {
                 jit::get(jit::kTiny, {1, 0}, kGpu, {});
               }),
      AllOf(HasSubstr("cannot be loaded on cuda:0 (driver for CUDA 12.8)"),
            HasSubstr("compiled by NVRTC 13.0, which is newer than the driver"), HasSubstr("STROBE_NVRTC")));
}

TEST_F(CudaDriver, UnderCaptureWhatIsCachedLoadsAndWhatIsNotIsAnError) {
  const DriverApi& api = driver();
  jit::get(jit::kTiny, {1, 0}, kGpu, {});
  const OwnedStream stream(kGpu);
  ASSERT_EQ(api.cuStreamBeginCapture_v2(handle_of(stream), kCaptureGlobal), kSuccess);
  EXPECT_TRUE(is_capturing(kGpu, stream));
  EXPECT_FALSE(is_capturing(kGpu, {}));
  EXPECT_THAT(
      error_of(ErrorKind::kUnsupported,
               [&] {
                 jit::get(jit::kTiny, {5, 0}, kGpu, stream);
               }),
      AllOf(HasSubstr("tiny(kFactor = 5, kWide = false) for sm_90a is not in the kernel cache"),
            HasSubstr("while a graph is being captured"), HasSubstr("`strobe warmup --arch sm_90a`")));
  EXPECT_NO_THROW(jit::get(jit::kTiny, {1, 0}, kGpu, stream));
  // Compiled by another process meanwhile: loading it does not spoil the capture.
  jit::Messages messages;
  jit::CompilerSettings settings = jit::tiny_settings(folder.path(), messages);
  settings.headers = jit::embedded_headers();
  jit::Compiler(settings).obtain(jit::tiny(3));
  EXPECT_NO_THROW(jit::get(jit::kTiny, {3, 0}, kGpu, stream));
  GraphHandle graph = nullptr;
  EXPECT_EQ(api.cuStreamEndCapture(handle_of(stream), &graph), kSuccess) << "the capture was spoilt";
  api.cuGraphDestroy(graph);
}

TEST_F(CudaDriver, ARehearsalNotesKernelsAndTouchesNoDevice) {
  jit::Rehearsal rehearsal(Architecture::kSm80);
  const Kernel& kernel = jit::get(jit::kTiny, {2, 0}, {DeviceType::kCuda, 3}, {});
  launch(kernel, {.grid = {5}}, jit::TinyParams{});
  jit::get(jit::kTiny, {2, 0}, kGpu, {});
  jit::get(jit::kTiny, {3, 1}, kGpu, {});
  ASSERT_EQ(rehearsal.variants().size(), 2u);
  EXPECT_EQ(rehearsal.variants()[1], jit::tiny(3, true, Architecture::kSm80));
  EXPECT_EQ(architecture_of(kOldGpu), Architecture::kSm80);
  std::thread([] {
    EXPECT_EQ(architecture_of(kGpu), Architecture::kSm90a) << "other threads are in real life";
  }).join();
}

TEST_F(CudaDriver, AForkedChildGetsAnErrorInsteadOfAHang) {
  jit::get(jit::kTiny, {1, 0}, kGpu, {});
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string message = error_of(ErrorKind::kDriver, [] { jit::get(jit::kTiny, {2, 0}, kGpu, {}); });
    ::_exit(message.find("does not survive fork()") != std::string::npos ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(CudaDriver, ADriverThatIsTooOld) {
  ::setenv("FAKE_CUDA_VERSION", "11080", 1);
  EXPECT_EQ(device_count(), 0);
  EXPECT_EQ(error_of(ErrorKind::kUnsupported, [] { driver(); }),
            "CUDA: the NVIDIA driver is too old: it supports CUDA 11.8, Strobe needs 12.0 or newer");
}

TEST_F(CudaDriver, ADriverThatDoesNotStart) {
  ::setenv("FAKE_CUDA_INIT", "999", 1);
  EXPECT_EQ(device_count(), 0);
  EXPECT_EQ(error_of(ErrorKind::kUnsupported, [] { device_facts(kGpu); }),
            "CUDA: the NVIDIA driver does not start: cuInit: CUDA_ERROR_UNKNOWN (999): as the test wants it");
}

}  // namespace
}  // namespace strobe::cuda
