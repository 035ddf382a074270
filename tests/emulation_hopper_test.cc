// The emulated GPU's part of Hopper: mbarriers, named barriers, copies of boxes, products of warpgroups. It
// runs right kernels right, and finds what is wrong with wrong ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cuda/tensor_map.h"
#include "strobe/dtype.h"
#include "support/emulated_kernel.h"

namespace strobe {
namespace {

using namespace emulated;
using ::testing::AnyOf;
using ::testing::HasSubstr;

// Columns of a row of bf16; the innermost axis of boxes of 8 rows.
constexpr int kColumns = 64, kBoxRows = 8;

struct BoxParams {
  cuda::TensorMap in, out;
  float* sums;
};

constexpr char kBoxPrologue[] = R"(
#include "ptx/elect.h"
#include "ptx/matrix.h"
#include "ptx/mbarrier.h"
#include "ptx/named_barrier.h"
#include "ptx/register_budget.h"
#include "ptx/tensor_copy.h"
#include "ptx/wgmma.h"
#include "ptx/convert.h"
struct alignas(128) Map { strobe::kernel::TensorMap map; };
struct Params { Map in, out; float* sums; };
using namespace strobe::kernel;
STROBE_DEVICE SharedAddress swizzled(SharedAddress row, int chunk) {
  return row + ((chunk ^ (row >> 7 & 7)) << 4);
}
STROBE_DEVICE float element(SharedAddress panel, int row, int column) {
  const SharedAddress at = swizzled(panel + row * 128, column / 8) + column % 8 * 2;
  return __uint_as_float(static_cast<uint32_t>(*reinterpret_cast<const unsigned short*>(at)) << 16);
}
extern "C" __global__ void __launch_bounds__(160) strobe_test(const __grid_constant__ Params params) {
  extern __shared__ alignas(1024) unsigned char shared[];
  const int i = threadIdx.x;
  const SharedAddress tile = shared_address(shared), full = tile + 65536, empty = full + 64;
)";
constexpr int kSharedBytes = 65536 + 128;

// in: `rows` of small integers as bf16; out: as many of zeros; sums: 64 x 64 floats of -1.
struct Boxes {
  explicit Boxes(int rows)
      : in(kGpu, bytes(rows)), out(kGpu, bytes(rows)), sums(kGpu, 64 * 64 * sizeof(float)), rows_(rows) {
    std::vector<Bf16> values;
    for (int row = 0; row < rows; ++row)
      for (int column = 0; column < kColumns; ++column) values.emplace_back(value(row, column));
    in.upload(std::as_bytes(std::span(values)));
    const std::vector<Bf16> zeros(values.size());
    out.upload(std::as_bytes(std::span(zeros)));
    const std::vector<float> unwritten(64 * 64, -1.0f);
    sums.upload(std::as_bytes(std::span(unwritten)));
  }
  static std::size_t bytes(int rows) { return static_cast<std::size_t>(rows * kColumns) * sizeof(Bf16); }
  static float value(int row, int column) { return static_cast<float>((row * 7 + column * 3) % 11 - 5); }
  cuda::TensorMap map(const cuda::DeviceBuffer& buffer) const {
    const auto rows = static_cast<std::uint64_t>(rows_);
    constexpr std::uint64_t kRowBytes = kColumns * sizeof(Bf16);
    return cuda::tensor_map(
        {.address = buffer.data(),
         .type = cuda::TensorMapType::kBf16,
         .rank = 5,
         .sizes = {kColumns, rows, 1, 1, 1},
         .strides_bytes = {kRowBytes, rows * kRowBytes, rows * kRowBytes, rows * kRowBytes},
         .box = {kColumns, kBoxRows, 1, 1, 1},
         .swizzle = cuda::TensorMapSwizzle::k128Bytes});
  }
  std::vector<float> run(const std::string& body, int threads = 160) const {
    const jit::NvrtcOutput output = compile(kBoxPrologue + body + "\n}\n");
    EXPECT_TRUE(output.compiled) << output.log;
    const cuda::Kernel kernel = cuda::load_kernel(
        output.cubin,
        {.name = "test", .entry = "strobe_test", .threads = threads, .shared_bytes = kSharedBytes}, 0);
    cuda::launch(kernel, {}, BoxParams{map(in), map(out), static_cast<float*>(sums.data())});
    std::vector<float> fetched(64 * 64);
    sums.download(std::as_writable_bytes(std::span(fetched)));
    return fetched;
  }
  std::vector<Bf16> stored() const {
    std::vector<Bf16> fetched(static_cast<std::size_t>(rows_ * kColumns));
    out.download(std::as_writable_bytes(std::span(fetched)));
    return fetched;
  }
  cuda::DeviceBuffer in, out, sums;

 private:
  int rows_;
};

std::string box_fault(const std::string& body, int rows = 64, int threads = 160) {
  try {
    Boxes(rows).run(body, threads);
  } catch (const Error& error) {
    return error.what();
  }
  return "no fault";
}

std::string with(std::string text, const std::string& what, const std::string& instead) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), instead);
}

constexpr char kOneBox[] = R"(
  if (i == 0) {
    init_barrier(full, 1);
    publish_barriers();
    arrive_expecting(full, 1024);
    copy_box(tile, params.in.map, {0, 4, 0, 0, 0}, full, Keep::kFirstToGo);
  }
  __syncthreads();
  wait_for_phase(full, 0);
  for (int at = i; at < 512; at += 160) params.sums[at] = element(tile, at / 64, at % 64);)";

TEST(EmulatedHopper, ABoxComesPermutedAndWithZerosBeyondTheTensor) {
  constexpr int kRows = 9;  // five of the box are of the tensor
  const std::vector<float> box = Boxes(kRows).run(kOneBox);
  for (int at = 0; at < 512; ++at) {
    const int row = 4 + at / 64, column = at % 64;
    EXPECT_EQ(box[static_cast<std::size_t>(at)], row < kRows ? Boxes::value(row, column) : 0.0f) << at;
  }
}

TEST(EmulatedHopperFault, ABoxThatNobodyHasWaitedFor) {
  EXPECT_THAT(box_fault(with(kOneBox, "wait_for_phase(full, 0);", "")), HasSubstr("nobody has waited for"));
}
TEST(EmulatedHopperFault, ABoxThatOnlyAnotherWarpHasWaitedFor) {
  EXPECT_THAT(box_fault(with(kOneBox, "wait_for_phase(full, 0);", "if (i < 32) wait_for_phase(full, 0);")),
              AnyOf(HasSubstr("nobody has waited for"), HasSubstr("with no barrier between")));
}
TEST(EmulatedHopperFault, TheOtherParity) {
  EXPECT_THAT(box_fault(with(kOneBox, "wait_for_phase(full, 0);", "wait_for_phase(full, 1);")),
              HasSubstr("nobody has waited for"));
}
TEST(EmulatedHopperFault, BytesThatNeverCome) {
  const std::string fault = box_fault(with(kOneBox, "expecting(full, 1024)", "expecting(full, 2048)"));
  EXPECT_THAT(fault, HasSubstr("hangs: thread"));
  EXPECT_THAT(fault, HasSubstr("waits for phase 0 (parity 0) of the barrier at byte 65536 of shared memory, "
                               "where 0 of 1 arrivals and 1024 bytes are missing"));
}
TEST(EmulatedHopperFault, ABarrierThatTheCopyEngineHasNotSeen) {
  EXPECT_THAT(box_fault(with(kOneBox, "publish_barriers();", "")), HasSubstr("publish_barriers()"));
}
TEST(EmulatedHopperFault, ABarrierThatIsNone) {
  EXPECT_THAT(box_fault("if (i == 0) arrive(full);"), HasSubstr("where nobody has made one"));
}
TEST(EmulatedHopperFault, OneArrivalTooMany) {
  EXPECT_THAT(box_fault("if (i == 0) { init_barrier(full, 2); arrive_expecting(full, 16); arrive(full); "
                        "arrive(full); }"),
              HasSubstr("once more than announced"));
}
TEST(EmulatedHopperFault, ABlockThatEndsBeforeItsCopies) {
  EXPECT_THAT(box_fault(R"(
    if (i == 0) {
      init_barrier(full, 1);
      publish_barriers();
      arrive_expecting(full, 1024);
      copy_box(tile, params.in.map, {0, 0, 0, 0, 0}, full, Keep::kFirstToGo);
    })"),
              HasSubstr("has ended while a copy"));
}

// Warp 4 fetches boxes into two places; the others add up a column of each.
constexpr char kRing[] = R"(
  if (i == 0) {
    for (int place = 0; place < 2; ++place) init_barrier(full + 8 * place, 1), init_barrier(empty + 8 * place, 4);
    publish_barriers();
  }
  __syncthreads();
  if (i >= 128) {
    give_registers<24>();
    for (int box = 0; box < 8; ++box) {
      const int place = box % 2;
      wait_for_phase(empty + 8 * place, box / 2 % 2 ^ 1);
      if (is_elected()) {
        arrive_expecting(full + 8 * place, 1024);
        copy_box(tile + 1024 * place, params.in.map, {0, 8 * box, 0, 0, 0}, full + 8 * place, Keep::kLastToGo);
      }
    }
    return;
  }
  float sum = 0;
  for (int box = 0; box < 8; ++box) {
    const int place = box % 2;
    wait_for_phase(full + 8 * place, box / 2 % 2);
    for (int row = 0; row < 8; ++row) sum += element(tile + 1024 * place, row, i % 64);
    __syncwarp();
    if (is_elected()) arrive(empty + 8 * place);
  }
  params.sums[i] = sum;)";

TEST(EmulatedHopper, ARingOfBoxes) {
  const std::vector<float> sums = Boxes(64).run(kRing);
  for (int i = 0; i < 128; ++i) {
    float sum = 0;
    for (int row = 0; row < 64; ++row) sum += Boxes::value(row, i % 64);
    EXPECT_EQ(sums[static_cast<std::size_t>(i)], sum) << i;
  }
}

TEST(EmulatedHopperFault, APlaceThatIsFilledBeforeItIsFree) {
  EXPECT_THAT(box_fault(with(kRing, "wait_for_phase(empty + 8 * place, box / 2 % 2 ^ 1);", "")),
              AnyOf(HasSubstr("with no barrier between"), HasSubstr("nobody has waited for"),
                    HasSubstr("once more than announced")));
}
TEST(EmulatedHopperFault, APlaceThatIsFreedBeforeItIsRead) {
  EXPECT_THAT(
      box_fault(with(with(kRing, "__syncwarp();\n    if (is_elected()) arrive(empty + 8 * place);", ""),
                     "for (int row = 0;",
                     "if (is_elected()) arrive(empty + 8 * place);\n    for (int row = 0;")),
      AnyOf(HasSubstr("with no barrier between"), HasSubstr("nobody has waited for")));
}
TEST(EmulatedHopperFault, APlaceThatIsNeverFreed) {
  EXPECT_THAT(
      box_fault(with(kRing, "if (is_elected()) arrive(empty + 8 * place);", "")),
      HasSubstr("thread 128 waits for phase 0 (parity 0) of the barrier at byte 65600 of shared memory, "
                "where 4 of 4 arrivals and 0 bytes are missing"));
}

TEST(EmulatedHopper, ABoxGoesToGlobalMemory) {
  const Boxes boxes(13);
  boxes.run(std::string(kOneBox) + R"(
  __syncthreads();
  if (i < 64) {
    const SharedAddress at = swizzled(tile + i / 8 * 128, i % 8);
    *reinterpret_cast<unsigned short*>(at) = 0x4040;
    order_before_async();
  }
  __syncthreads();
  if (i == 0) {
    store_box(params.out.map, {0, 8, 0, 0, 0}, tile);
    end_store_group();
    wait_for_stores();
  })");
  const std::vector<Bf16> out = boxes.stored();
  for (int row = 0; row < 13; ++row)
    for (int column = 0; column < kColumns; ++column)
      EXPECT_EQ(static_cast<float>(out[static_cast<std::size_t>(row * kColumns + column)]),
                row < 8           ? 0.0f
                : column % 8 == 0 ? 3.0f
                                  : Boxes::value(row - 4, column))
          << row << " " << column;
}
constexpr char kStore[] = R"(
  if (i == 0) init_barrier(full, 1);
  __syncthreads();
  if (i < 64) *reinterpret_cast<float4*>(tile + 16 * i) = {1, 2, 3, 4};
  order_before_async();
  __syncthreads();
  if (i == 0) {
    store_box(params.out.map, {0, 0, 0, 0, 0}, tile);
    end_store_group();
    wait_for_store_reads();
  })";
TEST(EmulatedHopperFault, AStoreOfWhatIsNotOrderedBeforeIt) {
  EXPECT_EQ(box_fault(kStore), "no fault");
  EXPECT_THAT(box_fault(with(kStore, "order_before_async();", "")),
              HasSubstr("no order_before_async() since"));
}
TEST(EmulatedHopperFault, AStoreThatIsNotWaitedFor) {
  EXPECT_THAT(box_fault(with(kStore, "wait_for_store_reads();", "")), HasSubstr("ends with stores"));
}

constexpr char kPass[] = R"(
    float* values = reinterpret_cast<float*>(shared);
    if (i < 64) {
      values[i] = i;
      sync_threads(1, 64);
      params.sums[i] = values[63 - i];
    })";
TEST(EmulatedHopper, BarriersOfSomeWarps) {
  const std::vector<float> sums = Boxes(8).run(kPass);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(sums[static_cast<std::size_t>(i)], static_cast<float>(63 - i));
}
TEST(EmulatedHopperFault, ABarrierOfTooFewWarps) {
  EXPECT_THAT(box_fault(with(kPass, "sync_threads(1, 64)", "sync_threads(1 + i / 32, 32)")),
              AnyOf(HasSubstr("with no barrier between"), HasSubstr("nobody has written")));
}
TEST(EmulatedHopperFault, ABarrierOfWarpsThatDoNotAllCome) {
  EXPECT_THAT(box_fault("if (i < 64) sync_threads(1, 96);"), HasSubstr("waits at a barrier of some warps"));
}

// sums[m][n] = sum over 64 k of in[m][k] in[n][k] and, by way of P = A's fragments, sum over k of in[m][k]
// in[k][n].
constexpr char kProduct[] = R"(
  if (i == 0) {
    init_barrier(full, 1);
    publish_barriers();
    arrive_expecting(full, 8192);
    for (int box = 0; box < 8; ++box)
      copy_box(tile + 1024 * box, params.in.map, {0, 8 * box, 0, 0, 0}, full, Keep::kFirstToGo);
  }
  __syncthreads();
  if (i >= 128) return;
  wait_for_phase(full, 0);
  float d[32];
  const int warp = i / 32, g = i % 32 / 4, c = i % 4;
  begin_products();
  for (int k = 0; k < 4; ++k) {
    #multiply
  }
  end_products();
  wait_for_products<0>();
  fence_sums(d);
  for (int j = 0; j < 8; ++j)
    for (int h = 0; h < 2; ++h)
      for (int e = 0; e < 2; ++e)
        params.sums[(16 * warp + 8 * h + g) * 64 + 8 * j + 2 * c + e] = d[4 * j + 2 * h + e];)";
constexpr char kFromShared[] = R"(
    multiply<Dtype::kBf16>(d, advance<32>(place_along_k(tile, 1024), k), advance<32>(place_along_k(tile, 1024), k), k > 0);)";
constexpr char kFromRegisters[] = R"(
    uint32_t a[4];
    for (int word = 0; word < 4; ++word) {
      const int row = 16 * warp + g + word % 2 * 8, column = 16 * k + 2 * c + word / 2 * 8;
      a[word] = pair_of<Dtype::kBf16>(element(tile, row, column), element(tile, row, column + 1));
    }
    multiply<Dtype::kBf16>(d, a, advance<2048>(place_across_k(tile, 8192, 1024), k), k > 0);)";

std::string product(const char* multiply) { return with(kProduct, "#multiply", multiply); }

TEST(EmulatedHopper, ProductsOfAWarpgroup) {
  for (const bool from_registers : {false, true}) {
    const std::vector<float> sums = Boxes(64).run(product(from_registers ? kFromRegisters : kFromShared));
    for (int m = 0; m < 64; ++m)
      for (int n = 0; n < 64; ++n) {
        float sum = 0;
        for (int k = 0; k < 64; ++k)
          sum += Boxes::value(m, k) * (from_registers ? Boxes::value(k, n) : Boxes::value(n, k));
        EXPECT_EQ(sums[static_cast<std::size_t>(m * 64 + n)], sum) << m << " " << n;
      }
  }
}

TEST(EmulatedHopperFault, SumsThatAreReadTooEarly) {
  EXPECT_THAT(box_fault(with(product(kFromShared), "wait_for_products<0>();", "wait_for_products<1>();")),
              HasSubstr("sums of products that it has not waited for"));
}
TEST(EmulatedHopperFault, ProductsThatAreNotBegun) {
  EXPECT_THAT(box_fault(with(product(kFromShared), "begin_products();", "")), HasSubstr("begin_products()"));
}
TEST(EmulatedHopperFault, ProductsThatNobodyWaitsFor) {
  EXPECT_THAT(box_fault("float d[32]; if (i < 128) { begin_products(); end_products(); }", 64, 128),
              HasSubstr("ends with products"));
}
TEST(EmulatedHopperFault, OperandsThatHaveNotCome) {
  EXPECT_THAT(box_fault(with(product(kFromShared), "wait_for_phase(full, 0);", "")),
              HasSubstr("nobody has waited for"));
}
TEST(EmulatedHopperFault, AnOperandThatIsWrittenBeforeItIsUsed) {
  EXPECT_THAT(box_fault(with(product(kFromShared), "end_products();",
                             "end_products(); if (i == 0) *reinterpret_cast<float*>(tile) = 0;")),
              HasSubstr("with no barrier between"));
}

TEST(EmulatedHopper, MatricesGoToSharedMemoryAndBack) {
  const std::vector<float> sums = Boxes(8).run(R"(
    if (i < 32) {
      const uint32_t words[4] = {i, 100 + i, 200 + i, 300 + i};
      store_matrices(tile + 16 * i, words);
      __syncwarp();
      uint32_t back[4];
      load_matrices(back, tile + 16 * i);
      for (int m = 0; m < 4; ++m) params.sums[4 * i + m] = back[m];
      __syncwarp();
      params.sums[128 + i] = *reinterpret_cast<const unsigned*>(tile + 16 * i);
    })");
  for (int i = 0; i < 32; ++i) {
    for (int m = 0; m < 4; ++m)
      EXPECT_EQ(sums[static_cast<std::size_t>(4 * i + m)], static_cast<float>(100 * m + i));
    EXPECT_EQ(sums[static_cast<std::size_t>(128 + i)], static_cast<float>(i / 8 * 100 + i % 8 * 4)) << i;
  }
}

}  // namespace
}  // namespace strobe
