// What the call log says of tensors on a GPU.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/log.h"
#include "op/statistics.h"
#include "ops/statistics_cuda.h"
#include "strobe/attention.h"
#include "strobe/norm.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr Dtype kAll[] = {Dtype::kF32, Dtype::kF16, Dtype::kBf16, Dtype::kE4m3, Dtype::kE5m2,
                          Dtype::kI8,  Dtype::kU8,  Dtype::kI32,  Dtype::kI64,  Dtype::kBool};

// Any bits, so that every kind of value occurs: subnormals, NaN, Inf.
Tensor random_bits(Dtype dtype, std::initializer_list<std::int64_t> shape) {
  Tensor x(dtype, shape);
  op::Random random(11);
  for (std::int64_t i = 0; i < x.view().bytes(); ++i)
    x.as<unsigned char>()[i] = static_cast<unsigned char>(random.next());
  return x;
}

void expect_statistics_of(const TensorView& host, const std::string& label) {
  const op::Statistics want = op::statistics_of(host);
  const test::DeviceCopy copy(host, size_of(host.dtype));
  const cuda::OwnedStream stream(test::kGpu);
  const op::Statistics got = op::statistics_on_gpu(copy.view(), stream);
  EXPECT_EQ(got.low, want.low) << label;
  EXPECT_EQ(got.high, want.high) << label;
  EXPECT_EQ(got.finite, want.finite) << label;
  EXPECT_EQ(got.nan, want.nan) << label;
  EXPECT_EQ(got.inf, want.inf) << label;
  if (want.finite == 0) return;
  const double scale = std::max(std::abs(want.low), std::abs(want.high)) * static_cast<double>(want.finite);
  EXPECT_NEAR(got.sum, want.sum, 1e-13 * scale) << label;
}

class CudaStatistics : public test::GpuTest {};

TEST_F(CudaStatistics, AreThoseOfTheCpuForEveryDtypeAndLayout) {
  for (Dtype dtype : kAll) {
    const Tensor x = random_bits(dtype, {5, 7, 9, 4});
    const std::string label(name(dtype));
    expect_statistics_of(x, label + " dense");
    expect_statistics_of(x.view().permute({2, 0, 3, 1}), label + " permuted");
    expect_statistics_of(x.view().slice(2, 1, 6).select(0, 3), label + " sliced");
    expect_statistics_of(x.view().slice(1, 0, 0), label + " empty");
    expect_statistics_of(x.view().select(0, 1).select(0, 2).select(0, 3).select(0, 1), label + " scalar");
    TensorView repeated = x.view().select(1, 2);
    repeated.strides[0] = 0;
    expect_statistics_of(repeated, label + " one stride 0");
  }
}

TEST_F(CudaStatistics, ReadEveryByteOfTheEightBitFloats) {
  const Tensor bytes(Dtype::kU8, {256});
  for (int i = 0; i < 256; ++i) bytes.as<unsigned char>()[i] = static_cast<unsigned char>(i);
  for (Dtype dtype : {Dtype::kE4m3, Dtype::kE5m2}) {
    TensorView x = bytes;
    x.dtype = dtype;
    expect_statistics_of(x, std::string(name(dtype)));
    const int step = dtype == Dtype::kE4m3 ? 1 : 13;  // e5m2 is read as f16, e4m3 bit by bit
    for (int i = 0; i < 128; i += step)
      expect_statistics_of(x.slice(0, i, i + 1), std::string(name(dtype)) + " " + std::to_string(i));
  }
}

// More elements than the threads of a grid take in one round, on any GPU of at most 400 SMs.
TEST_F(CudaStatistics, OfATensorLargerThanAGrid) {
  const std::int64_t rows = test::missing_gpu().empty() ? cuda::device_facts(test::kGpu).sm_count * 4 + 1 : 1;
  const Tensor x = random_bits(Dtype::kU8, {rows, 400});
  expect_statistics_of(x, "large");
  expect_statistics_of(x.view().permute({1, 0}), "large, transposed");
}

class CudaLog : public test::GpuTest {
 protected:
  CudaLog()
      : path_(std::filesystem::temp_directory_path() / ("strobe_cuda_log_" + std::to_string(getpid()))) {
    std::filesystem::remove(path_);
  }
  ~CudaLog() override {
    log::configure(0, "stdout");
    std::filesystem::remove(path_);
  }
  void log_at(int level) { log::configure(level, path_.string()); }
  std::string text() const {
    std::ostringstream content;
    content << std::ifstream(path_).rdbuf();
    return content.str();
  }
  // A norm of one row of 1, 2, 3, 4 on the GPU; `run(args)` calls it.
  template <class Run>
  void norm(Run run) {
    const Tensor x(Dtype::kF32, {1, 4}), weight(Dtype::kF32, {4}), out(Dtype::kF32, {1, 4});
    for (int i = 0; i < 4; ++i) {
      x.as<float>()[i] = static_cast<float>(i + 1);
      weight.as<float>()[i] = 2;
    }
    const test::DeviceCopy on_gpu[] = {{x, 0}, {weight, 0}, {out, 0}};
    run(RmsNormArgs{.input = on_gpu[0].view(), .weight = on_gpu[1].view(), .out = on_gpu[2].view()});
  }
  std::filesystem::path path_;
};

TEST_F(CudaLog, LevelFiveHasTheStatisticsOfWhatACallReadsAndWrites) {
  log_at(5);
  norm([](const RmsNormArgs& args) {
    const cuda::OwnedStream stream(test::kGpu);
    rmsnorm(args, Stream(stream));
  });
  const std::string log = text();
  EXPECT_THAT(log, AllOf(HasSubstr("input: min 1 max 4 mean 2.5 nan 0 inf 0"),
                         HasSubstr("weight: min 2 max 2 mean 2 nan 0 inf 0"),
                         HasSubstr("out: min 0.730297 max 2.92119 mean 1.82574 nan 0 inf 0")));
  EXPECT_LT(log.find("rmsnorm (cuda"), log.find("rmsnorm reads"));
  EXPECT_LT(log.find("rmsnorm reads"), log.find("rmsnorm done"));
}

// A head dimension without a fast kernel is served by another, and the record says by which.
TEST_F(CudaLog, ARunOfAttentionNamesItsKernels) {
  log_at(3);
  const AttentionVariant changes_keys =
      define_attention_variant({"NoChange",
                                "struct NoChange { static float key(const Params&, const KeyIndex&, const "
                                "auto& k, int i) { return k[i]; } };",
                                {},
                                {}});
  const auto record_of = [&](int head_dim, PosEncoding encoding, Dtype dtype = Dtype::kBf16,
                             AttentionVariant variant = {}, int unaligned = 0) {
    const std::int64_t before = static_cast<std::int64_t>(text().size());
    const Tensor q(dtype, {1, 2, head_dim + unaligned}), kv(dtype, {20, 2, head_dim + unaligned});
    const test::DeviceCopy on_gpu[] = {{q, 0}, {kv, 0}, {q, 0}};
    const std::vector<std::int32_t> qo_indptr = {0, 1}, kv_indptr = {0, 20};
    BatchAttention attention;
    attention.plan({.qo_indptr = TensorView::of(qo_indptr),
                    .kv_indptr = TensorView::of(kv_indptr),
                    .num_qo_heads = 2,
                    .num_kv_heads = 2,
                    .head_dim_qk = head_dim,
                    .q_dtype = dtype,
                    .kv_dtype = dtype,
                    .options = {.pos_encoding = encoding},
                    .variant = variant,
                    .device = test::kGpu});
    const auto elements = [&](const test::DeviceCopy& of) {
      return of.view().slice(2, unaligned, unaligned + head_dim);
    };
    attention.run({.q = elements(on_gpu[0]),
                   .k = elements(on_gpu[1]),
                   .v = elements(on_gpu[1]),
                   .out = elements(on_gpu[2])});
    return text().substr(static_cast<std::size_t>(before));
  };
  EXPECT_THAT(record_of(64, PosEncoding::kNone), HasSubstr("kernels = attention_decode\n"));
  EXPECT_THAT(record_of(72, PosEncoding::kNone), HasSubstr("kernels = attention_prefill\n"));
  EXPECT_THAT(record_of(64, PosEncoding::kRope), HasSubstr("kernels = attention_prefill\n"));
  EXPECT_THAT(record_of(64, PosEncoding::kNone, Dtype::kF32), HasSubstr("kernels = attention_f32\n"));
  EXPECT_THAT(record_of(64, PosEncoding::kNone, Dtype::kBf16, changes_keys),
              HasSubstr("kernels = attention_variant_tiles\n"));
  EXPECT_THAT(record_of(64, PosEncoding::kNone, Dtype::kF32, changes_keys),
              HasSubstr("kernels = attention_variant (CUDA cores: f32 queries)\n"));
  EXPECT_THAT(record_of(64, PosEncoding::kNone, Dtype::kBf16, changes_keys, 1),
              HasSubstr("(CUDA cores: rows that hooks change are not chunks of 16 bytes)\n"));
}

TEST_F(CudaLog, NothingIsComputedBelowLevelFive) {
  log_at(3);
  norm([](const RmsNormArgs& args) { rmsnorm(args); });
  EXPECT_THAT(text(), AllOf(HasSubstr("rmsnorm (cuda"), Not(HasSubstr("reads")), Not(HasSubstr("min "))));
}

// A wait, or anything else that a capture forbids, would end it.
TEST_F(CudaLog, ACapturedCallIsLoggedWithoutStatistics) {
  for (int level : {3, 5}) {
    norm([&](const RmsNormArgs& args) {
      const cuda::OwnedStream stream(test::kGpu);
      rmsnorm(args, Stream(stream));  // loads the kernel, which a capture cannot
      stream.synchronize();
      log_at(level);
      const cuda::Graph graph(test::kGpu, stream, [&] { rmsnorm(args, Stream(stream)); });
      log::configure(0, "stdout");
      graph.launch(stream);
      stream.synchronize();
    });
    EXPECT_THAT(text(), HasSubstr("rmsnorm (cuda"));
  }
  EXPECT_THAT(text(),
              AllOf(HasSubstr("input: no statistics while the stream is captured"),
                    HasSubstr("out: no statistics while the stream is captured"), Not(HasSubstr("min "))));
}

// Statistics are the first to touch an operand at a bad address; the call's record is on disk by then. In a
// process of its own, since a GPU's context does not survive it.
TEST_F(CudaLog, TheRecordOfACallComesBeforeItsStatistics) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto child = [&](RmsNormArgs args) {
    log_at(5);
    args.input.data = reinterpret_cast<void*>(0x1000);
    try {
      rmsnorm(args);
    } catch (const Error&) {
    }
    const std::size_t record = text().find("rmsnorm (cuda"), note = text().find("input: no statistics: ");
    std::_Exit(note != std::string::npos && record < note ? 5 : 6);
  };
  EXPECT_EXIT(norm(child), testing::ExitedWithCode(5), "");
}

}  // namespace
}  // namespace strobe
