// The real driver, compiler and device: what the stand-ins of cuda_driver_test.cc cannot show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/driver.h"
#include "cuda/event.h"
#include "cuda/library.h"
#include "cuda/tensor_map.h"
#include "jit/compiler.h"
#include "strobe/error.h"
#include "support/tiny_kernel.h"

namespace strobe::cuda {
namespace {

constexpr Device kGpu{DeviceType::kCuda, 0};

// Kernels for these tests, beside the tiny one.
constexpr jit::Header kHeaders[] = {
    jit::kTinyHeaders[0],
    jit::kTinyHeaders[1],
    // Blocks of a cluster read each other's shared memory; dynamic shared memory beyond 48 KiB.
    {"cluster.cuh",
     "#include \"tiny_params.h\"\n"
     "extern \"C\" __global__ void strobe_cluster(const __grid_constant__ TinyParams params) {\n"
     "  extern __shared__ float shared[];\n"
     "  unsigned rank, ranks, theirs;\n"
     "  asm volatile(\"mov.u32 %0, %%cluster_ctarank;\" : \"=r\"(rank));\n"
     "  asm volatile(\"mov.u32 %0, %%cluster_nctarank;\" : \"=r\"(ranks));\n"
     "  const unsigned last = 25599;\n"  // of 100 KiB
     "  if (threadIdx.x == 0) shared[last] = params.in[rank];\n"
     "  asm volatile(\"barrier.cluster.arrive; barrier.cluster.wait;\" ::: \"memory\");\n"
     "  unsigned mine = static_cast<unsigned>(__cvta_generic_to_shared(&shared[last]));\n"
     "  asm volatile(\"mapa.shared::cluster.u32 %0, %1, %2;\" : \"=r\"(theirs) : \"r\"(mine), \"r\"((rank + "
     "1) % ranks));\n"
     "  float value;\n"
     "  asm volatile(\"ld.shared::cluster.f32 %0, [%1];\" : \"=f\"(value) : \"r\"(theirs));\n"
     "  if (threadIdx.x == 0) params.out[blockIdx.x] = value;\n"
     "  asm volatile(\"barrier.cluster.arrive; barrier.cluster.wait;\" ::: \"memory\");\n"
     "}\n"},
    // Copies a tile by TMA.
    {"tma.cuh",
     "struct alignas(128) Map { unsigned long long opaque[16]; };\n"
     "struct TmaParams { Map map; float* out; };\n"
     "extern \"C\" __global__ void strobe_tma(const __grid_constant__ TmaParams params) {\n"
     "  __shared__ alignas(128) float tile[8 * 32];\n"
     "  __shared__ unsigned long long barrier;\n"
     "  const unsigned tile_at = static_cast<unsigned>(__cvta_generic_to_shared(tile));\n"
     "  const unsigned barrier_at = static_cast<unsigned>(__cvta_generic_to_shared(&barrier));\n"
     "  if (threadIdx.x == 0) {\n"
     "    asm volatile(\"mbarrier.init.shared.b64 [%0], 1;\" :: \"r\"(barrier_at));\n"
     "    asm volatile(\"fence.mbarrier_init.release.cluster;\");\n"
     "    asm volatile(\"mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;\" :: \"r\"(barrier_at), \"r\"(8 * "
     "32 * 4));\n"
     "    asm volatile(\"cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
     "[%0], [%1, {%2, %3}], [%4];\" :: \"r\"(tile_at), \"l\"(&params.map), \"r\"(32), \"r\"(8), "
     "\"r\"(barrier_at) : \"memory\");\n"
     "  }\n"
     "  __syncthreads();\n"
     "  unsigned done = 0;\n"
     "  while (!done) asm volatile(\"{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], 0; "
     "selp.u32 %0, 1, 0, p; }\" "
     ": \"=r\"(done) : \"r\"(barrier_at) : \"memory\");\n"
     "  for (int i = threadIdx.x; i < 8 * 32; i += blockDim.x) params.out[i] = tile[i];\n"
     "}\n"},
};

struct TmaParams {
  TensorMap map;
  float* out;
};

constexpr jit::KernelSource kCluster = {.name = "cluster",
                                        .header = "cluster.cuh",
                                        .types = "",
                                        .constants = {},
                                        .launch_facts = [](jit::Values, Architecture) {
                                          return jit::LaunchFacts{.threads = 32, .shared_bytes = 100 * kKiB};
                                        }};
constexpr jit::KernelSource kTma = {
    .name = "tma", .header = "tma.cuh", .types = "", .constants = {}, .launch_facts = jit::tiny_launch};

// Without a device: the kernels of these tests compile.
TEST(CudaDeviceKernels, CompileForHopper) {
  if (!jit::nvrtc().status().problem.empty()) GTEST_SKIP() << jit::nvrtc().status().problem;
  jit::TemporaryFolder folder;
  jit::CompilerSettings settings;
  settings.cache_directory = folder.path();
  settings.headers = kHeaders;
  for (const jit::KernelSource* source : {&kCluster, &kTma}) {
    const auto binary = jit::Compiler(settings).obtain({source, {}, Architecture::kSm90a});
    EXPECT_TRUE(binary->entry.record.facts.clean()) << binary->entry.record.log;
  }
}

class CudaDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!driver_status().problem.empty()) GTEST_SKIP() << driver_status().problem;
    if (device_count() == 0) GTEST_SKIP() << "this machine has no CUDA device";
    if (!jit::nvrtc().status().problem.empty()) GTEST_SKIP() << jit::nvrtc().status().problem;
  }

  Kernel load(const jit::Variant& variant) {
    jit::CompilerSettings settings;
    settings.cache_directory = folder.path();
    settings.headers = kHeaders;
    const auto binary = jit::Compiler(settings).obtain(variant);
    EXPECT_TRUE(binary->entry.record.facts.clean()) << binary->entry.record.log;
    const jit::LaunchFacts launch = variant.source->launch_facts(variant.constants(), variant.architecture);
    return load_kernel(binary->entry.code,
                       {.name = describe(variant),
                        .entry = "strobe_" + std::string(variant.source->name),
                        .threads = launch.threads,
                        .shared_bytes = launch.shared_bytes},
                       0);
  }
  Kernel tiny(int factor) { return load(jit::tiny(factor, false, architecture_of(kGpu))); }
  static bool at_least_hopper() { return architecture_of(kGpu) >= Architecture::kSm90a; }

  jit::TemporaryFolder folder;
};

std::vector<float> counting(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

DeviceBuffer upload(const std::vector<float>& values) {
  DeviceBuffer buffer(kGpu, values.size() * sizeof(float));
  buffer.upload(std::as_bytes(std::span(values)));
  return buffer;
}

std::vector<float> download(const DeviceBuffer& buffer) {
  std::vector<float> values(buffer.bytes() / sizeof(float));
  buffer.download(std::as_writable_bytes(std::span(values)));
  return values;
}

float* floats(const DeviceBuffer& buffer) { return static_cast<float*>(buffer.data()); }

constexpr int kCount = 1000;
constexpr std::uint32_t kBlocks = (kCount + 127) / 128;

std::vector<float> scaled(float factor) {
  std::vector<float> values = counting(kCount);
  for (float& value : values) value *= factor;
  return values;
}

TEST_F(CudaDevice, FactsMatchTheArchitectureTable) {
  const DeviceFacts& facts = device_facts(kGpu);
  ASSERT_TRUE(facts.architecture.has_value()) << facts.name;
  EXPECT_EQ(facts.shared_bytes_per_block, cuda::facts(*facts.architecture).shared_bytes_per_block);
  EXPECT_GT(facts.sm_count, 0);
  EXPECT_GT(facts.memory_bytes, 0);
  EXPECT_GT(free_memory(kGpu), 0u);
}

TEST_F(CudaDevice, AKernelComputes) {
  const Kernel kernel = tiny(3);
  EXPECT_TRUE(kernel.params_bytes == 0 || kernel.params_bytes == sizeof(jit::TinyParams))
      << kernel.params_bytes;
  const DeviceBuffer in = upload(counting(kCount)), out = upload(counting(kCount));
  const OwnedStream stream(kGpu);
  launch(kernel, {.grid = {kBlocks}, .stream = stream}, jit::TinyParams{floats(in), floats(out), kCount});
  stream.synchronize();
  EXPECT_EQ(download(out), scaled(3));
}

TEST_F(CudaDevice, ProgrammaticAndCooperativeLaunches) {
  const Kernel kernel = tiny(2);
  const DeviceBuffer in = upload(counting(kCount)), between = upload(counting(kCount)),
                     out = upload(counting(kCount));
  const OwnedStream stream(kGpu);
  const bool pdl = at_least_hopper();
  // The kernel does not wait on its own, and no kernel before it releases it early: so order holds.
  launch(kernel, {.grid = {kBlocks}, .cooperative = true, .stream = stream},
         jit::TinyParams{floats(in), floats(between), kCount});
  launch(kernel, {.grid = {kBlocks}, .pdl = pdl, .stream = stream},
         jit::TinyParams{floats(between), floats(out), kCount});
  stream.synchronize();
  EXPECT_EQ(download(out), scaled(4));
}

TEST_F(CudaDevice, ClustersAndLargeSharedMemory) {
  if (!at_least_hopper()) GTEST_SKIP() << "clusters came with sm_90";
  if (facts(architecture_of(kGpu)).shared_bytes_per_block < 100 * kKiB)
    GTEST_SKIP() << "100 KiB of shared memory needed";
  const Kernel kernel = load({&kCluster, {}, architecture_of(kGpu)});
  const DeviceBuffer in = upload(counting(4)), out = upload(std::vector<float>(4));
  launch(kernel, {.grid = {4}, .cluster = {4}}, jit::TinyParams{floats(in), floats(out), 4});
  synchronize(kGpu, {});
  EXPECT_EQ(download(out), (std::vector<float>{2, 3, 4, 1}));
}

TEST_F(CudaDevice, TensorMapsDescribeTiles) {
  if (!at_least_hopper()) GTEST_SKIP() << "TMA came with sm_90";
  const Kernel kernel = load({&kTma, {}, architecture_of(kGpu)});
  constexpr int kRows = 16, kColumns = 64;
  const DeviceBuffer in = upload(counting(kRows * kColumns)), out = upload(std::vector<float>(8 * 32));
  const TensorMap map = tensor_map({.address = in.data(),
                                    .type = TensorMapType::kF32,
                                    .rank = 2,
                                    .sizes = {kColumns, kRows},
                                    .strides_bytes = {kColumns * sizeof(float)},
                                    .box = {32, 8}});
  launch(kernel, {.grid = {1}}, TmaParams{map, floats(out)});
  synchronize(kGpu, {});
  const std::vector<float> tile = download(out);
  for (int row = 0; row < 8; ++row)
    for (int column = 0; column < 32; ++column)
      EXPECT_EQ(tile[static_cast<std::size_t>(row * 32 + column)],
                static_cast<float>((row + 8) * kColumns + column + 32 + 1));
}

TEST_F(CudaDevice, EventsMeasureAndWait) {
  const Kernel kernel = tiny(1);
  const DeviceBuffer in = upload(counting(kCount)), out = upload(counting(kCount));
  const OwnedStream stream(kGpu);
  Event start(kGpu), end(kGpu);
  start.record(stream);
  launch(kernel, {.grid = {kBlocks}, .stream = stream}, jit::TinyParams{floats(in), floats(out), kCount});
  end.record(stream);
  end.wait();
  EXPECT_TRUE(end.done());
  EXPECT_GT(milliseconds_between(start, end), 0);
}

TEST_F(CudaDevice, LoadingUnderCaptureLeavesTheCaptureWhole) {
  const DriverApi& api = driver();
  const Kernel kernel = tiny(2);
  const DeviceBuffer in = upload(counting(kCount)), out = upload(counting(kCount));
  const OwnedStream stream(kGpu);
  ASSERT_EQ(api.cuStreamBeginCapture_v2(handle_of(stream), kCaptureGlobal), kSuccess);
  EXPECT_TRUE(is_capturing(kGpu, stream));
  const Kernel loaded_meanwhile = tiny(3);
  launch(kernel, {.grid = {kBlocks}, .stream = stream}, jit::TinyParams{floats(in), floats(out), kCount});
  launch(loaded_meanwhile, {.grid = {kBlocks}, .stream = stream},
         jit::TinyParams{floats(out), floats(out), kCount});
  GraphHandle graph = nullptr;
  ASSERT_EQ(api.cuStreamEndCapture(handle_of(stream), &graph), kSuccess);
  EXPECT_EQ(download(out), counting(kCount)) << "a captured launch ran";
  GraphExecHandle exec = nullptr;
  const ContextGuard context(kGpu.index);
  ASSERT_EQ(api.cuGraphInstantiateWithFlags(&exec, graph, 0), kSuccess);
  ASSERT_EQ(api.cuGraphLaunch(exec, handle_of(stream)), kSuccess);
  stream.synchronize();
  EXPECT_EQ(download(out), scaled(6));
  api.cuGraphExecDestroy(exec);
  api.cuGraphDestroy(graph);
}

TEST_F(CudaDevice, ThreadsLaunchAtTheSameTime) {
  const Kernel kernel = tiny(5);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      const DeviceBuffer in = upload(counting(kCount)), out = upload(counting(kCount));
      const OwnedStream stream(kGpu);
      for (int round = 0; round < 100; ++round)
        launch(kernel, {.grid = {kBlocks}, .stream = stream},
               jit::TinyParams{floats(in), floats(out), kCount});
      stream.synchronize();
      EXPECT_EQ(download(out), scaled(5));
      ContextHandle current = nullptr;
      EXPECT_EQ(driver().cuCtxGetCurrent(&current), kSuccess);
      EXPECT_EQ(current, nullptr) << "the thread had none before";
    });
}

TEST_F(CudaDevice, EveryDeviceOfTheMachineRuns) {
  const Kernel first = tiny(2);
  for (int ordinal = 1; ordinal < device_count(); ++ordinal) {
    const Device device{DeviceType::kCuda, static_cast<std::int8_t>(ordinal)};
    DeviceBuffer buffer(device, 16);
    buffer.fill(1);
    std::byte bytes[16];
    buffer.download(bytes);
    EXPECT_EQ(bytes[15], std::byte{1});
  }
  EXPECT_THROW(DeviceBuffer({DeviceType::kCuda, static_cast<std::int8_t>(device_count())}, 16), Error);
}

TEST_F(CudaDevice, DriverErrorsNameCallAndMeaning) {
  const Kernel kernel = tiny(2);
  try {
    launch(kernel, {.grid = {1}, .block = {2048}}, jit::TinyParams{});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDriver);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("block 2048x1x1, 0 bytes of dynamic shared memory: CUDA: "
                                                   "cuLaunchKernelEx: CUDA_ERROR_INVALID_VALUE (1): "));
  }
  EXPECT_THROW(DeviceBuffer(kGpu, std::size_t{1} << 50), Error);
}

}  // namespace
}  // namespace strobe::cuda
