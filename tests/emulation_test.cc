// The emulated GPU of tests/fake: it runs right kernels right, and finds what is wrong with wrong ones. Each
// test is a process of its own under ctest; what loses the context runs in a child.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/driver.h"
#include "cuda/graph.h"
#include "strobe/error.h"
#include "support/emulated_kernel.h"

namespace strobe {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

using namespace emulated;

std::vector<float> reversed() {
  std::vector<float> values(kThreads);
  std::iota(values.rbegin(), values.rend(), 0.0f);
  return values;
}

constexpr char kReverse[] = R"(
  __shared__ float values[128];
  values[i] = params.in[i];
  __syncthreads();
  params.out[i] = values[127 - i];)";

TEST(Emulation, IsWhatTheseTestsRunOn) {
  ASSERT_EQ(cuda::driver_status().problem, "");
  EXPECT_EQ(cuda::device_facts(kGpu).name, "Emulated GPU (sm_90)");
}

TEST(Emulation, SharedMemoryAndBarriers) {
  EXPECT_EQ(run(kReverse), reversed());
  EXPECT_EQ(run(R"(
    extern __shared__ float values[];
    values[i] = params.in[i];
    __syncthreads();
    params.out[i] = values[127 - i];)",
                {.shared_bytes = 512}),
            reversed());
}

TEST(Emulation, SumsOverAWarp) {
  const std::vector<float> sums = run("params.out[i] = sum_of_lanes<32>(params.in[i]);");
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(sums[static_cast<std::size_t>(i)], 496 + i / 32 * 1024) << i;
}

TEST(Emulation, BlocksOfAGrid) {
  const std::vector<float> out =
      run("const int at = (blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + i; params.out[at] = "
          "params.in[at];",
          {.grid = {3, 2}}, 6 * kThreads);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], static_cast<float>(i));
}

TEST(Emulation, AsynchronousCopiesArriveWhenTheyAreWaitedFor) {
  EXPECT_EQ(run(R"(
    __shared__ float values[128];
    copy_async<4>(&values[i], params.in + i);
    end_copy_group();
    wait_for_copies<0>();
    __syncthreads();
    params.out[i] = values[127 - i];)"),
            reversed());
}

TEST(Emulation, CopiesOfZeros) {
  EXPECT_EQ(run(R"(
    alignas(16) __shared__ float values[128];
    if (i < 32) copy_async_or_zero<16>(shared_address(values + 4 * i), params.in + 4 * i, i < 16);
    end_copy_group();
    wait_for_copies<0>();
    __syncthreads();
    params.out[i] = values[i] + 1;)")[64],
            1.0f);
}

TEST(Emulation, BarriersOfAWarp) {
  std::vector<float> swapped = run(R"(
    __shared__ float values[128];
    for (int round = 0; round < 3; ++round) {
      values[i] = params.in[i] + round;
      __syncwarp();
      params.out[i] = values[i ^ 31];
      __syncwarp();
    })");
  for (int i = 0; i < kThreads; ++i)
    EXPECT_EQ(swapped[static_cast<std::size_t>(i)], static_cast<float>((i ^ 31) + 2));
}

TEST(Emulation, LanesThatAskAndVote) {
  const std::vector<float> out = run(R"(
    params.out[i] = __shfl_sync(0xffffffff, i, 5) + (__any_sync(0xffffffff, i == 40) ? 1000 : 0);)");
  EXPECT_EQ(out[0], 5.0f);
  EXPECT_EQ(out[32], 1037.0f);
}

// D = A B^T of 16 x 16 and 8 x 16 small integers, brought from shared memory as the tensor cores take them.
TEST(Emulation, ProductsOfMatrices) {
  for (const char* dtype : {"Dtype::kF16", "Dtype::kBf16"}) {
    const std::string body = std::string(R"(
      alignas(16) __shared__ unsigned short a[16][8 * 2 + 8], b[8][16 + 8];
      const auto value = [](int row, int k) { return (row * 7 + k * 3) % 11 - 5; };
      constexpr Dtype kType = )") +
                             dtype + R"(;
      const auto half = [](int x) {
        return static_cast<unsigned short>(pair_of<kType>(static_cast<float>(x), 0.0f));
      };
      for (int j = i; j < 256; j += 128) a[j / 16][j % 16] = half(value(j / 16, j % 16));
      b[i / 16][i % 16] = half(value(i / 16 + 3, i % 16));
      __syncthreads();
      uint32_t of_a[4], of_b[4];
      load_matrices(of_a, shared_address(&a[i % 16][i / 16 % 2 * 8]));
      load_matrices(of_b, shared_address(&b[i % 8][i / 8 % 2 * 8]));
      float d[4] = {};
      mma_16x8x16<kType>(d, of_a, of_b[0], of_b[1]);
      if (i < 32)
        for (int j = 0; j < 4; ++j) params.out[(i / 4 + j / 2 * 8) * 8 + i % 4 * 2 + j % 2] = d[j];)";
    const std::vector<float> out = run(body);
    const auto value = [](int row, int k) { return (row * 7 + k * 3) % 11 - 5; };
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) {
        int sum = 0;
        for (int k = 0; k < 16; ++k) sum += value(row, k) * value(column + 3, k);
        EXPECT_EQ(out[static_cast<std::size_t>(row * 8 + column)], static_cast<float>(sum)) << row << column;
      }
  }
}

// Element [r][c] of matrix m is 64 m + 8 r + c.
TEST(Emulation, TransposedMatrices) {
  const std::vector<float> out = run(R"(
    alignas(16) __shared__ unsigned short values[256];
    for (int j = i; j < 256; j += 128) values[j] = j;
    __syncthreads();
    uint32_t of_matrix[4];
    load_matrices_transposed(of_matrix, shared_address(values + i % 32 * 8));
    const uint32_t back = transpose_matrix(of_matrix[3]);
    if (i < 32) params.out[2 * i] = of_matrix[2] >> 16, params.out[2 * i + 1] = back & 0xffff;)");
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, c = lane % 4;
    EXPECT_EQ(out[static_cast<std::size_t>(2 * lane)], static_cast<float>(128 + (2 * c + 1) * 8 + g));
    EXPECT_EQ(out[static_cast<std::size_t>(2 * lane + 1)], static_cast<float>(192 + g * 8 + 2 * c));
  }
}

TEST(EmulationFault, AMissingBarrierOfAWarp) {
  EXPECT_THAT(fault_of(R"(
    __shared__ float values[128];
    for (int round = 0; round < 3; ++round) {
      values[i] = params.in[i] + round;
      __syncwarp();
      params.out[i] = values[i ^ 31];
    })"),
              HasSubstr("with no barrier between"));
}
TEST(EmulationFault, ABarrierOfAWarpOrdersNoOtherWarp) {
  EXPECT_THAT(fault_of(R"(
    __shared__ float values[128];
    values[i] = params.in[i];
    __syncwarp();
    params.out[i] = values[127 - i];)"),
              AnyOf(HasSubstr("with no barrier between"), HasSubstr("nobody has written")));
}
TEST(EmulationFault, LanesThatDoNotActTogether) {
  EXPECT_THAT(
      fault_of("params.out[i] = i % 2 ? __any_sync(0xffffffff, true) : __shfl_sync(0xffffffff, i, 3);"),
      HasSubstr("disagree on what they do together"));
}

// Each block of four writes what its neighbour has read.
constexpr char kOfTheNextBlock[] = R"(
    extern __shared__ float values[];
    const int at = blockIdx.x * 128 + i;
    values[i] = params.in[at];
    %
    const float theirs = load_of_rank(&values[i], (cluster_rank() + 1) % 4);
    %
    params.out[at] = theirs;)";

std::string of_the_next_block(const std::string& before, const std::string& after) {
  std::string text = kOfTheNextBlock;
  text.replace(text.find('%'), 1, before);
  text.replace(text.rfind('%'), 1, after);  // behind the other '%', which is the remainder's
  return text;
}

TEST(Emulation, BlocksOfAClusterReadEachOther) {
  const std::vector<float> out = run(of_the_next_block("wait_for_cluster();", "wait_for_cluster();"),
                                     {.grid = {8}, .cluster = {4}, .shared_bytes = 512}, 8 * kThreads);
  for (int at = 0; at < 8 * kThreads; ++at) {
    const int block = at / kThreads, next = block / 4 * 4 + (block + 1) % 4;
    EXPECT_EQ(out[static_cast<std::size_t>(at)], static_cast<float>(next * kThreads + at % kThreads));
  }
}

TEST(EmulationFault, ABlockOfTheClusterThatIsNotWaitedFor) {
  EXPECT_THAT(fault_of(of_the_next_block("__syncthreads();", "wait_for_cluster();"),
                       {.grid = {4}, .cluster = {4}, .shared_bytes = 512}, 4 * kThreads),
              AnyOf(HasSubstr("no barrier between"), HasSubstr("nobody has written")));
}

TEST(EmulationFault, ABlockOfTheClusterThatMayHaveEnded) {
  EXPECT_THAT(fault_of(of_the_next_block("wait_for_cluster();", ""),
                       {.grid = {4}, .cluster = {4}, .shared_bytes = 512}, 4 * kThreads),
              HasSubstr("may have ended"));
}

// What is written after the neighbour's read, with nothing that orders the two.
TEST(EmulationFault, ABlockOfTheClusterThatStillReads) {
  EXPECT_THAT(fault_of(of_the_next_block("wait_for_cluster();",
                                         "__syncthreads(); values[i] = 0; wait_for_cluster();"),
                       {.grid = {4}, .cluster = {4}, .shared_bytes = 512}, 4 * kThreads),
              HasSubstr("no barrier between"));
}

constexpr char kCount[] = R"(
    __shared__ unsigned count;
    if (i == 0) count = 0;
    __syncthreads();
    add_shared(&count, i);
    %
    params.out[i] = count;)";

TEST(Emulation, AtomicOperationsOfABlock) {
  std::string text = kCount;
  EXPECT_EQ(run(text.replace(text.find('%'), 1, "__syncthreads();")),
            std::vector<float>(kThreads, 127 * 64.0f));
}

TEST(EmulationFault, AnAtomicOperationAndARead) {
  std::string text = kCount;
  EXPECT_THAT(fault_of(text.replace(text.find('%'), 1, "")), HasSubstr("no barrier between"));
}

TEST(EmulationFault, AMissingBarrier) {
  EXPECT_THAT(fault_of(R"(
    __shared__ float values[128];
    values[i] = params.in[i];
    params.out[i] = values[127 - i];)"),
              AnyOf(HasSubstr("with no barrier between"), HasSubstr("nobody has written")));
}

// The values are right whatever the order, but for the next round's.
TEST(EmulationFault, AMissingBarrierBeforeTheNextRound) {
  EXPECT_THAT(fault_of(R"(
    __shared__ float values[128];
    for (int round = 0; round < 2; ++round) {
      values[i] = params.in[i];
      __syncthreads();
      params.out[i] = values[127 - i];
    })"),
              HasSubstr("with no barrier between"));
}

TEST(EmulationFault, ABarrierThatNotAllThreadsReach) {
  const std::string fault = fault_of("if (i < 16) __syncthreads(); params.out[i] = 0;");
  EXPECT_THAT(fault, HasSubstr("CUDA_ERROR_LAUNCH_FAILED"));
  EXPECT_THAT(fault, HasSubstr("diverged"));
  EXPECT_THAT(fault, HasSubstr("16 of 128 threads are at the barrier, 112 have ended"));
}

TEST(EmulationFault, LanesThatHaveEnded) {
  EXPECT_THAT(fault_of("if (i % 32 > 7) return; params.out[i] = sum_of_lanes<32>(params.in[i]);"),
              AnyOf(HasSubstr("which has ended"), HasSubstr("diverged")));
}

TEST(EmulationFault, WritesAndReadsBeyondTheEnd) {
  EXPECT_THAT(
      fault_of("params.out[i + 1] = 0;"),
      HasSubstr("thread 127: writes 4 bytes 512 bytes behind the beginning of an allocation of 512 bytes"));
}
TEST(EmulationFault, ReadsBeyondTheEndWithinAVector) {
  EXPECT_THAT(fault_of("params.out[i] = load<8>(params.in + i / 2 * 2).word[0];", {}, 127),
              HasSubstr("reads 8 bytes 504 bytes behind the beginning of an allocation of 508 bytes"));
}
TEST(EmulationFault, WritesBeforeTheBeginning) {
  EXPECT_THAT(fault_of("params.out[i - 1] = 0;"), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS"));
}
TEST(EmulationFault, HostMemory) {
  float host = 0;
  const Buffers buffers(kThreads);
  cuda::launch(kernel("if (i == 0) *params.out = 0;"), {}, Params{nullptr, &host, 0});
  EXPECT_THROW(buffers.result(), Error);
}
TEST(EmulationFault, MemoryThatWasFreed) {
  Buffers buffers(kThreads);
  const Params params = buffers.params();
  buffers.out = cuda::DeviceBuffer(kGpu, 512);
  cuda::launch(kernel("params.out[i] = params.in[i];"), {}, params);
  try {
    buffers.result();
    FAIL() << "the kernel wrote where nothing is";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                AnyOf(HasSubstr("where there is no device memory"), HasSubstr("behind the beginning of")));
  }
}

TEST(EmulationFault, SharedMemoryBeyondWhatTheLaunchGives) {
  EXPECT_THAT(fault_of("extern __shared__ float values[]; values[i] = 0;", {.shared_bytes = 508}),
              HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS"));
}
TEST(EmulationFault, SharedMemoryThatNobodyHasWritten) {
  EXPECT_THAT(fault_of(R"(
    __shared__ float values[128];
    if (i < 127) values[i] = params.in[i];
    __syncthreads();
    params.out[i] = values[127 - i];)"),
              HasSubstr("thread 0: reads 4 bytes at byte 508 of shared memory, which nobody has written"));
}

TEST(EmulationFault, AVectorThatIsNotAligned) {
  const std::string fault = fault_of("if (i == 0) params.out[0] = load<16>(params.in + 1).word[0];");
  EXPECT_THAT(fault, HasSubstr("CUDA_ERROR_MISALIGNED_ADDRESS"));
  EXPECT_THAT(fault, HasSubstr("no multiple of 16"));
}

constexpr char kFetch[] = R"(
    __shared__ float values[128];
    copy_async<4>(&values[i], params.in + i);
    end_copy_group();)";

TEST(EmulationFault, AnAsynchronousCopyThatIsNotWaitedFor) {
  EXPECT_THAT(fault_of(std::string(kFetch) + "params.out[i] = values[i];"),
              HasSubstr("nobody has waited for"));
}
TEST(EmulationFault, AnAsynchronousCopyOfALaterGroup) {
  EXPECT_THAT(fault_of(std::string(kFetch) + "wait_for_copies<1>(); params.out[i] = values[i];"),
              HasSubstr("nobody has waited for"));
}
TEST(EmulationFault, AnotherThreadsCopyWithoutABarrier) {
  EXPECT_THAT(fault_of(std::string(kFetch) + "wait_for_copies<0>(); params.out[i] = values[127 - i];"),
              AnyOf(HasSubstr("no barrier between"), HasSubstr("nobody has waited for"),
                    HasSubstr("nobody has written")));
}

TEST(EmulationFault, BlocksThatWriteToOnePlace) {
  EXPECT_THAT(fault_of("params.out[i] = blockIdx.x;", {.grid = {2}}), HasSubstr("nothing to order the two"));
}
TEST(EmulationFault, BlocksThatReadWhatAnotherWrites) {
  EXPECT_THAT(
      fault_of("const float x = params.out[127 - i]; if (blockIdx.x == 1) params.out[i] = x;", {.grid = {2}}),
      HasSubstr("nothing to order the two"));
}

// Every block writes its numbers; the one that `counts` finds to be the last of three adds them up.
std::string last_block_adds(const std::string& barrier, const std::string& counts) {
  return R"(
    auto* counter = reinterpret_cast<uint32_t*>(params.out + 3 * 128);
    __shared__ uint32_t before;
    params.out[blockIdx.x * 128 + 127 - i] = params.in[i];)" +
         barrier + "if (i == 0) before = " + counts + R"(;
    __syncthreads();
    if (before + 1 != 3) return;
    params.out[i] += params.out[128 + i] + params.out[256 + i];
    if (i == 0) set_global(counter, 0);)";
}

TEST(Emulation, TheLastBlockToComeSeesWhatTheOthersHaveReleased) {
  Buffers buffers(3 * kThreads + 1);
  buffers.out.upload(std::vector<std::byte>(Buffers::bytes(3 * kThreads + 1)));
  cuda::launch(kernel(last_block_adds("__syncthreads();", "add_release_acquire(counter, 1)")), {.grid = {3}},
               buffers.params());
  const std::vector<float> out = buffers.result();
  for (int i = 0; i < kThreads; ++i)
    EXPECT_EQ(out[static_cast<std::size_t>(i)], static_cast<float>(3 * (127 - i)));
  EXPECT_EQ(out.back(), 0.0f);
}

TEST(EmulationFault, ABlockThatReleasesWhatOtherThreadsMayNotHaveWritten) {
  Buffers buffers(3 * kThreads + 1);
  buffers.out.upload(std::vector<std::byte>(Buffers::bytes(3 * kThreads + 1)));
  const auto fault = [&](const std::string& body) -> std::string {
    try {
      cuda::launch(kernel(body), {.grid = {3}}, buffers.params());
      buffers.result();
    } catch (const Error& error) {
      return error.what();
    }
    return "no fault";
  };
  EXPECT_THAT(fault(last_block_adds("", "add_release_acquire(counter, 1)")),
              HasSubstr("nothing to order the two"));
}

TEST(EmulationFault, ABlockThatDoesNotWaitForTheOthers) {
  EXPECT_THAT(fault_of(last_block_adds("__syncthreads();", "add_release_acquire(counter, 1) * 0 + 2"),
                       {.grid = {3}}, 3 * kThreads + 1),
              HasSubstr("nothing to order the two"));
}

TEST(EmulationFault, GlobalMemoryBeforeTheKernelBeforeHasEnded) {
  EXPECT_THAT(fault_of("params.out[i] = params.in[i];", {.pdl = true}),
              HasSubstr("before it waits for the kernel before"));
  EXPECT_THAT(fault_of("params.out[i] = 0;"), HasSubstr("before it waits")) << "the context is lost for good";
}
TEST(Emulation, AKernelThatWaitsForTheOneBefore) {
  EXPECT_EQ(run("wait_for_kernel_before(); params.out[i] = params.in[127 - i];", {.pdl = true}), reversed());
}

TEST(Emulation, LaunchesThatADriverRefuses) {
  const Buffers buffers(kThreads);
  const cuda::Kernel ok = kernel(kReverse);
  const auto refusal = [&](const cuda::LaunchConfig& config) -> std::string {
    try {
      cuda::launch(ok, config, buffers.params());
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal({.block = {256}}), HasSubstr("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"));
  EXPECT_THAT(refusal({.block = {2048}}), HasSubstr("CUDA_ERROR_INVALID_VALUE"));
  EXPECT_THAT(refusal({.grid = {1, 65536}}), HasSubstr("CUDA_ERROR_INVALID_VALUE"));
  EXPECT_THAT(refusal({.shared_bytes = 48 * 1024}), HasSubstr("CUDA_ERROR_INVALID_VALUE"));  // 512 are static
  EXPECT_THAT(refusal({.grid = {3}, .cluster = {2}}), HasSubstr("CUDA_ERROR_INVALID_VALUE"));
  EXPECT_THAT(refusal({.grid = {32}, .cluster = {16}}), HasSubstr("CUDA_ERROR_INVALID_CLUSTER_SIZE"));
  EXPECT_EQ(refusal({.shared_bytes = 47 * 1024}), "accepted");
  EXPECT_THROW(kernel(kReverse, 228 * 1024), Error);
}

TEST(Emulation, WorkIsDoneWhenSomebodyWaits) {
  const Buffers buffers(kThreads);
  const cuda::OwnedStream stream(kGpu);
  cuda::launch(kernel(kReverse), {.stream = stream}, buffers.params());
  EXPECT_EQ(buffers.result(), std::vector<float>(kThreads, -1.0f)) << "of another stream than was waited for";
  stream.synchronize();
  EXPECT_EQ(buffers.result(), reversed());
}

TEST(Emulation, GraphsReplayTheirLaunches) {
  const Buffers buffers(kThreads);
  const cuda::OwnedStream stream(kGpu);
  const cuda::Kernel add = kernel("params.out[i] += params.in[i];");
  const cuda::Graph graph(kGpu, stream, [&] { cuda::launch(add, {.stream = stream}, buffers.params()); });
  for (int i = 0; i < 3; ++i) graph.launch(stream);
  stream.synchronize();
  EXPECT_EQ(buffers.result()[5], 3 * 5.0f - 1);
}

TEST(Emulation, DiagnosticsOfTheCompiler) {
  const jit::NvrtcOutput output = compile(std::string(kPrologue) + "  params.out[i] = nonsense;\n}\n");
  EXPECT_FALSE(output.compiled);
  EXPECT_THAT(output.log, HasSubstr("test.cu:16:19: error: 'nonsense' was not declared"));
}

TEST(Emulation, TwoKernelsDoNotShareTheirSharedMemory) {
  const Buffers buffers(kThreads);
  const std::string body = R"(
    __shared__ float values[%];
    values[i] = params.in[i];
    __syncthreads();
    params.out[i] = values[127 - i];)";
  for (const char* size : {"128", "4096", "128"}) {
    std::string text = body;
    text.replace(text.find('%'), 1, size);
    cuda::launch(kernel(text), {}, buffers.params());
    EXPECT_EQ(buffers.result(), reversed());
  }
}

}  // namespace
}  // namespace strobe
