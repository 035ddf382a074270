// The decode kernel of attention by itself: its work list and its launch, which merges what the list has cut,
// against FP64.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "op/random.h"
#include "ops/attention_args.h"
#include "ops/attention_decode_cuda.h"
#include "support/attention_batch.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using test::BatchShape;
using test::kGpu;
using test::RequestShape;

class CudaAttentionDecode : public test::GpuTest {};

template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::span<const T> values)
      : buffer_(kGpu, std::max<std::size_t>(16, values.size_bytes())) {
    if (!values.empty()) buffer_.upload(std::as_bytes(values));
  }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(std::span<const T>(values)) {}
  T* data() const { return static_cast<T*>(buffer_.data()); }
  std::vector<T> fetch(std::size_t count) const {
    std::vector<T> values(count);
    if (count > 0) buffer_.download(std::as_writable_bytes(std::span(values)));
    return values;
  }

 private:
  cuda::DeviceBuffer buffer_;
};

OnDevice<std::byte> device_copy(const TensorView& view) {
  return OnDevice<std::byte>(
      std::span(static_cast<const std::byte*>(view.data), static_cast<std::size_t>(view.bytes())));
}

// A batch as BatchAttention would hand it to the kernel. NHD, dense.
class DecodeRun {
 public:
  explicit DecodeRun(const AttentionBatch& batch) : batch_(batch) {
    const AttentionPlanArgs& plan = batch.plan;
    int longest = 0;
    std::vector<std::int32_t> lengths;
    ops::kv_lengths(plan, lengths);
    for (std::size_t r = 0; r < lengths.size(); ++r) {
      const std::int32_t qo_len = batch.qo_indptr[r + 1] - batch.qo_indptr[r];
      longest = std::max(longest, qo_len);
      requests.push_back({.request = static_cast<std::int32_t>(r),
                          .q_row = batch.qo_indptr[r],
                          .qo_len = qo_len,
                          .kv_base = batch.kv_indptr[r],
                          .kv_len = lengths[r]});
    }
    shape = {.q_dtype = plan.q_dtype,
             .kv_dtype = plan.kv_dtype,
             .num_qo_heads = plan.num_qo_heads,
             .num_kv_heads = plan.num_kv_heads,
             .head_dim_qk = plan.head_dim_qk,
             .head_dim_vo = plan.head_dim_qk,
             .page_size = plan.page_size,
             .mask = plan.options.mask,
             .window_left = plan.options.window_left,
             .soft_cap = plan.options.logits_soft_cap > 0,
             .alibi = plan.options.pos_encoding == PosEncoding::kAlibi,
             .rope = false,
             .deterministic = plan.options.deterministic,
             .fixed = false,
             .max_batch_size = static_cast<int>(requests.size()),
             .max_qo_len = longest,
             .max_query_tokens = batch.qo_indptr.back()};
    gpu = op::gpu_of(kGpu);
    choice = op::choose_decode(shape, requests, gpu);
  }

  // Writes out and lse of the batch.
  void run() {
    ASSERT_TRUE(choice.suited);
    op::plan_decode(choice, shape, requests, list);
    const AttentionOptions& options = batch_.plan.options;
    const TensorView &q = batch_.run.q, &k = batch_.run.k, &v = batch_.run.v, &out = batch_.run.out,
                     &lse = batch_.run.lse;
    const auto bytes = [](const TensorView& view, int axis) {
      return view.strides[static_cast<std::size_t>(axis)] * static_cast<std::int64_t>(size_of(view.dtype));
    };
    const auto q_device = device_copy(q), k_device = device_copy(k), v_device = device_copy(v),
               out_device = device_copy(out), lse_device = device_copy(lse);
    const OnDevice<std::int32_t> indices(batch_.kv_indices);
    const OnDevice<kernel::AttentionItem> items(list.items);
    const OnDevice<kernel::AttentionRun> runs(list.runs);
    const std::size_t rows =
        static_cast<std::size_t>(list.slots) * static_cast<std::size_t>(list.partial_rows);
    constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();
    const OnDevice<float> partial_out(
        std::vector<float>(rows * static_cast<std::size_t>(v.shape[3]), kPoison));
    const OnDevice<float> partial_lse(std::vector<float>(rows, kPoison));
    const OnDevice<kernel::AttentionMerge> merges(list.merges);
    const OnDevice<std::uint32_t> arrivals(std::vector<std::uint32_t>(list.merges.size()));
    const std::vector<float> slopes = alibi_slopes(shape.num_qo_heads);
    const OnDevice<float> slopes_device(slopes);
    const bool custom = options.mask == MaskMode::kCustom;
    const TensorView no_mask = TensorView::of(no_mask_);
    const auto mask = device_copy(custom ? batch_.plan.custom_mask : no_mask);
    std::vector<std::int64_t> mask_begins;
    if (custom)
      for (std::int64_t i = 0; i < batch_.plan.custom_mask_indptr.size(); ++i)
        mask_begins.push_back(batch_.plan.custom_mask_indptr.at<std::int32_t>(i));
    const OnDevice<std::int64_t> mask_indptr(mask_begins);
    const auto sinks = device_copy(batch_.run.sinks.given() ? batch_.run.sinks : no_mask);
    const float scale = 1 / std::sqrt(static_cast<float>(shape.head_dim_qk));
    const kernel::AttentionParams params{
        .q = reinterpret_cast<const char*>(q_device.data()),
        .q_stride_token = bytes(q, 0),
        .q_stride_head = bytes(q, 1),
        .k = reinterpret_cast<const char*>(k_device.data()),
        .k_stride_page = bytes(k, 0),
        .k_stride_token = bytes(k, 1),
        .k_stride_head = bytes(k, 2),
        .v = reinterpret_cast<const char*>(v_device.data()),
        .v_stride_page = bytes(v, 0),
        .v_stride_token = bytes(v, 1),
        .v_stride_head = bytes(v, 2),
        .out = reinterpret_cast<char*>(out_device.data()),
        .out_stride_token = bytes(out, 0),
        .out_stride_head = bytes(out, 1),
        .lse = reinterpret_cast<float*>(lse_device.data()),
        .lse_stride_token = bytes(lse, 0),
        .lse_stride_head = bytes(lse, 1),
        .kv_indices = indices.data(),
        .page_size = op::divisor(shape.page_size),
        .group = op::divisor(shape.group()),
        .num_kv_heads = shape.num_kv_heads,
        .head_dim_qk = shape.head_dim_qk,
        .head_dim_vo = shape.head_dim_vo,
        .out_dtype = static_cast<int>(out.dtype),
        .scale = scale,
        .scale_log2 = scale * std::numbers::log2e_v<float>,
        .logits_soft_cap = options.logits_soft_cap,
        .v_scale = options.v_scale,
        .causal = options.mask == MaskMode::kCausal,
        .window_left = options.window_left,
        .alibi_slopes = shape.alibi ? slopes_device.data() : nullptr,
        .sinks = batch_.run.sinks.given() ? reinterpret_cast<const float*>(sinks.data()) : nullptr,
        .rope_turns = nullptr,
        .rope_interleave = 0,
        .custom_mask = custom ? reinterpret_cast<const unsigned char*>(mask.data()) : nullptr,
        .custom_mask_indptr = custom ? mask_indptr.data() : nullptr,
        .items = items.data(),
        .runs = runs.data(),
        .merges = merges.data(),
        .arrivals = arrivals.data(),
        .counts = nullptr,
        .partial_out = partial_out.data(),
        .partial_lse = partial_lse.data(),
        .partial_rows = list.partial_rows};
    const cuda::OwnedStream stream(kGpu);
    op::launch_decode(choice, params, gpu, Launch(Stream(stream)));
    stream.synchronize();
    fetch(out, out_device);
    fetch(lse, lse_device);
    // Every launch finds and leaves the arrivals at 0.
    for (const std::uint32_t count : arrivals.fetch(list.merges.size())) EXPECT_EQ(count, 0u);
  }

  std::vector<plan::AttentionRequest> requests;
  op::AttentionCudaShape shape;
  op::Gpu gpu;
  op::DecodeChoice choice;
  plan::DeviceWorkList list;

 private:
  static void fetch(const TensorView& view, const OnDevice<std::byte>& from) {
    const std::vector<std::byte> bytes = from.fetch(static_cast<std::size_t>(view.bytes()));
    std::memcpy(view.data, bytes.data(), bytes.size());
  }

  const AttentionBatch& batch_;
  std::vector<std::uint8_t> no_mask_ = std::vector<std::uint8_t>(16);
};

void expect_matches(AttentionBatch& batch, const std::string& label) {
  EXPECT_TRUE(batch.passes_when([](AttentionBatch& b) { DecodeRun(b).run(); }, DeviceType::kCuda))
      << label << ": " << batch.worst();
}

// Lengths around borders of tiles and pages, none, and one that is split.
const std::vector<RequestShape> kLengths = {{1, 1}, {1, 0}, {1, 33}, {1, 300}, {1, 47}, {1, 16}};

void expect_matches(Dtype q, Dtype kv, int head_dim) {
  AttentionBatch batch(kLengths, {.num_qo_heads = 6,
                                  .num_kv_heads = 2,
                                  .head_dim = head_dim,
                                  .page_size = 32,
                                  .dtype = q,
                                  .kv_dtype = kv});
  expect_matches(batch, std::string(name(q)) + " " + std::string(name(kv)) + " " + std::to_string(head_dim));
}

TEST_F(CudaAttentionDecode, MatchesTheReferenceOverDtypesAndHeadDims) {
  for (const int head_dim : {64, 96, 128, 192, 256, 512})
    expect_matches(Dtype::kBf16, Dtype::kBf16, head_dim);
  expect_matches(Dtype::kF16, Dtype::kF16, 128);
  expect_matches(Dtype::kBf16, Dtype::kE4m3, 96);
  expect_matches(Dtype::kF16, Dtype::kE4m3, 256);
  expect_matches(Dtype::kBf16, Dtype::kE5m2, 192);
  expect_matches(Dtype::kF16, Dtype::kE5m2, 64);
}

using CudaAttentionDecodeSlow = test::GpuTest;

TEST_F(CudaAttentionDecodeSlow, EveryPairOfDtypesAndHeadDim) {
  for (const Dtype q : {Dtype::kF16, Dtype::kBf16})
    for (const Dtype kv : {q, Dtype::kE4m3, Dtype::kE5m2})
      for (const int head_dim : {64, 96, 128, 192, 256, 512})
        if (head_dim <= 256 || kv == q) expect_matches(q, kv, head_dim);
}

TEST_F(CudaAttentionDecode, MatchesTheReferenceOverGroupsAndPages) {
  for (const int group : {1, 4, 7, 8, 11, 16})
    for (const int page_size : {1, 5, 16, 64}) {
      AttentionBatch batch(
          kLengths, {.num_qo_heads = 2 * group, .num_kv_heads = 2, .head_dim = 64, .page_size = page_size});
      expect_matches(batch, "group " + std::to_string(group) + " page " + std::to_string(page_size));
    }
}

TEST_F(CudaAttentionDecode, SeveralQueryTokensAndMasks) {
  const std::vector<RequestShape> requests = {{4, 4}, {4, 70}, {1, 33}, {3, 200}, {2, 1}, {1, 0}};
  for (const Dtype kv : {Dtype::kBf16, Dtype::kE4m3}) {
    const BatchShape shape{.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 64, .kv_dtype = kv};
    AttentionBatch causal(requests, shape);
    expect_matches(causal, "causal");
    causal.plan.options.window_left = 20;
    expect_matches(causal, "window");
    causal.plan.options.logits_soft_cap = 5;
    causal.plan.options.pos_encoding = PosEncoding::kAlibi;
    const std::vector<float> sinks = {1, -1, 0, 5, 2, -30, 0.5f, 3};
    causal.run.sinks = TensorView::of(sinks);
    expect_matches(causal, "window, soft cap, ALiBi, sinks");
    AttentionBatch custom(requests, shape);
    custom.set_random_custom_mask();
    expect_matches(custom, "custom mask");
    AttentionBatch full(requests, shape);
    full.plan.options.mask = MaskMode::kNone;
    expect_matches(full, "no mask");
  }
}

TEST_F(CudaAttentionDecode, ForgottenPartsFailTheCheck) {
  AttentionBatch batch({{4, 70}, {1, 33}}, {.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 64});
  EXPECT_FALSE(batch.passes_when(
      [](AttentionBatch& b) {
        b.plan.options.mask = MaskMode::kNone;
        DecodeRun(b).run();
        b.plan.options.mask = MaskMode::kCausal;
      },
      DeviceType::kCuda));
  EXPECT_FALSE(batch.passes_when(
      [](AttentionBatch& b) {
        DecodeRun run(b);
        for (plan::AttentionRequest& request : run.requests) request.kv_len -= 1;
        run.run();
      },
      DeviceType::kCuda));
}

// Masked rows may hold anything: NaN there is seen by the query tokens that attend to it alone.
TEST_F(CudaAttentionDecode, NanIsSeenByThoseWhoAttendToIt) {
  for (const Dtype kv : {Dtype::kBf16, Dtype::kE4m3, Dtype::kE5m2}) {
    AttentionBatch batch({{4, 70}, {1, 33}, {3, 20}},
                         {.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 64, .kv_dtype = kv});
    batch.poison_kv_token(0, 68);
    batch.poison_kv_token(2, 18);
    expect_matches(batch, std::string(name(kv)));
  }
}

TEST_F(CudaAttentionDecode, RowsOfAnySizeOfNumbers) {
  AttentionBatch batch({{1, 100}, {1, 40}}, {.num_qo_heads = 2, .num_kv_heads = 1, .kv_dtype = Dtype::kE4m3});
  for (std::int64_t d = 0; d < 64; ++d) {
    Bf16& large = batch.run.q.at<Bf16>(0, 0, d);
    large = Bf16(static_cast<float>(large) * 1e6f);  // beyond f16
    Bf16& small = batch.run.q.at<Bf16>(1, 1, d);
    small = Bf16(static_cast<float>(small) * 1e-30f);
  }
  expect_matches(batch, "large and small queries");
}

std::string bytes_of(const TensorView& view) {
  const auto* bytes = static_cast<const char*>(view.data);
  return std::string(bytes, bytes + view.bytes());
}

// More pieces than a warp has lanes, some of which give nothing to some rows, and rows of more than a lane's
// elements.
TEST_F(CudaAttentionDecode, RowsInManyPieces) {
  for (const int head_dim : {64, 256}) {
    const bool wide = head_dim == 256;
    AttentionBatch batch({{wide ? 1 : 3, 5120}},
                         {.num_qo_heads = 4, .num_kv_heads = 1, .head_dim = head_dim, .page_size = 64});
    const std::vector<float> sinks = {1, -1, 0, 5};
    batch.run.sinks = TensorView::of(sinks);
    std::size_t pieces = 0;
    std::string first, second;
    for (std::string* result : {&first, &second}) {
      EXPECT_TRUE(batch.passes_when(
          [&](AttentionBatch& b) {
            DecodeRun run(b);
            run.choice.blocks = wide ? 20 : 40;
            run.run();
            pieces = static_cast<std::size_t>(run.list.slots);
            *result = bytes_of(b.run.out) + bytes_of(b.run.lse);
          },
          DeviceType::kCuda))
          << head_dim << ": " << batch.worst();
    }
    EXPECT_EQ(pieces, wide ? 20u : 40u);
    EXPECT_EQ(first, second) << "whoever comes last merges in the same order";
  }
}

// More cut rows in a block's run than it remembers at once.
TEST_F(CudaAttentionDecode, ManyCutRowsInABlock) {
  std::vector<RequestShape> requests;
  for (int i = 0; i < 17; ++i) requests.push_back({1, 2049 + i});
  AttentionBatch batch(requests, {.num_qo_heads = 2, .num_kv_heads = 2, .head_dim = 64, .page_size = 64});
  batch.plan.options.deterministic = true;
  EXPECT_TRUE(batch.passes_when(
      [&](AttentionBatch& b) {
        DecodeRun run(b);
        run.choice.blocks = 1;
        run.choice.values[5] = run.choice.heads_together = 1;
        run.run();
        EXPECT_GT(run.list.merges.size(), 32u);
      },
      DeviceType::kCuda))
      << batch.worst();
}

TEST_F(CudaAttentionDecode, ADeterministicRequestDoesNotSeeItsNeighbours) {
  const BatchShape shape{.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 64};
  const auto run = [&](const std::vector<RequestShape>& requests, int which, const AttentionBatch* from) {
    AttentionBatch batch(requests, shape);
    batch.plan.options.deterministic = true;
    if (from != nullptr) batch.copy_request(which, *from);
    DecodeRun(batch).run();
    return bytes_of(batch.run.out.select(0, which));
  };
  AttentionBatch alone({{1, 5000}}, shape);
  const std::string first = run({{1, 5000}}, 0, &alone);
  EXPECT_EQ(run({{1, 17}, {1, 5000}, {1, 300}, {1, 1}}, 1, &alone), first);
}

}  // namespace
}  // namespace strobe
