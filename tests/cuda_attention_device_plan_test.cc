// Plans that the GPU makes from index arrays in its own memory: the lists are those that the host makes of
// the same lengths, and what comes of them is right, in graphs too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda/graph.h"
#include "ops/attention_args.h"
#include "ops/attention_decode_plan_cuda.h"
#include "support/attention_batch.h"
#include "support/gpu.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::AttentionBatch;
using test::error_message;
using test::kGpu;
using test::RequestShape;
using ::testing::HasSubstr;

class CudaAttentionDevicePlan : public test::GpuTest {};

// An index array on the GPU.
class Indices {
 public:
  explicit Indices(const std::vector<std::int32_t>& values)
      : size_(static_cast<std::int64_t>(values.size())), buffer_(kGpu, values.size() * 4 + 16) {
    set(values);
  }
  void set(const std::vector<std::int32_t>& values) {
    if (!values.empty()) buffer_.upload(std::as_bytes(std::span(values)));
  }
  const std::int32_t* data() const { return static_cast<const std::int32_t*>(buffer_.data()); }
  TensorView view() const { return TensorView(buffer_.data(), Dtype::kI32, {size_}, kGpu); }

 private:
  std::int64_t size_;
  cuda::DeviceBuffer buffer_;
};

template <class T>
std::vector<T> fetch(const T* device, std::size_t count) {
  std::vector<T> values(count);
  const cuda::ContextGuard context(0);
  cuda::check(cuda::driver().cuMemcpyDtoHAsync_v2(
                  values.data(), reinterpret_cast<cuda::DevicePointer>(device), count * sizeof(T), nullptr),
              "cuMemcpyDtoHAsync");
  cuda::check(cuda::driver().cuStreamSynchronize(nullptr), "cuStreamSynchronize");
  return values;
}

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

struct Lists {
  int kv_heads = 8, heads_together = 1, blocks = 132, page_size = 16, window_left = -1, qo_len = 1;
  bool deterministic = false, by_kv_len = false;
};

void expect_same_lists(const std::vector<int>& kv_lens, const Lists& lists) {
  std::vector<std::int32_t> qo_indptr{0}, kv_indptr{0}, last_page_len, kv_len;
  std::vector<plan::AttentionRequest> requests;
  for (std::size_t r = 0; r < kv_lens.size(); ++r) {
    const int length = kv_lens[r], pages = (length + lists.page_size - 1) / lists.page_size;
    const int qo_len = r % 5 == 4 ? 0 : lists.qo_len;  // some have no query tokens
    if (qo_len > 0)
      requests.push_back({.request = static_cast<std::int32_t>(r),
                          .q_row = qo_indptr.back(),
                          .qo_len = qo_len,
                          .kv_base = kv_indptr.back(),
                          .kv_len = length});
    qo_indptr.push_back(qo_indptr.back() + qo_len);
    kv_indptr.push_back(kv_indptr.back() + pages);
    last_page_len.push_back(length == 0 ? 0 : (length - 1) % lists.page_size + 1);
    kv_len.push_back(length);
  }
  const op::AttentionCudaShape shape{.q_dtype = Dtype::kBf16,
                                     .kv_dtype = Dtype::kBf16,
                                     .num_qo_heads = 4 * lists.kv_heads,
                                     .num_kv_heads = lists.kv_heads,
                                     .head_dim_qk = 128,
                                     .head_dim_vo = 128,
                                     .page_size = lists.page_size,
                                     .mask = MaskMode::kCausal,
                                     .window_left = lists.window_left,
                                     .soft_cap = false,
                                     .alibi = false,
                                     .rope = false,
                                     .deterministic = lists.deterministic,
                                     .fixed = true,
                                     .max_batch_size = static_cast<int>(kv_lens.size()) + 3,
                                     .max_qo_len = lists.qo_len,
                                     .max_query_tokens = qo_indptr.back() + 1};
  op::DecodeChoice choice;
  choice.heads_together = lists.heads_together;
  choice.blocks = lists.blocks;
  plan::DeviceWorkList list;
  op::plan_decode(choice, shape, requests, list);

  const Indices qo(qo_indptr), kv(kv_indptr), last(last_page_len), lens(kv_len);
  op::DeviceDecodePlan device_plan;
  device_plan.reserve(choice, shape, kGpu);
  ASSERT_TRUE(device_plan.holds(choice, shape, kGpu));
  const cuda::OwnedStream stream(kGpu);
  device_plan.make(choice, shape,
                   {.qo_indptr = qo.data(),
                    .kv_indptr = kv.data(),
                    .last_page_len = lists.by_kv_len ? nullptr : last.data(),
                    .kv_len = lists.by_kv_len ? lens.data() : nullptr,
                    .requests = static_cast<std::int32_t>(kv_lens.size()),
                    .kv_entries = kv_indptr.back()},
                   op::gpu_of(kGpu), Launch(Stream(stream)));
  stream.synchronize();
  kernel::AttentionParams params{};
  device_plan.set(params);
  const kernel::AttentionCounts counts = fetch(params.counts, 1)[0];
  ASSERT_EQ(counts.items, static_cast<int>(list.items.size()));
  ASSERT_EQ(counts.merges, static_cast<int>(list.merges.size()));
  EXPECT_TRUE(same_bytes(fetch(params.runs, list.runs.size()), list.runs));
  EXPECT_TRUE(same_bytes(fetch(params.merges, list.merges.size()), list.merges));
  EXPECT_TRUE(same_bytes(fetch(params.items, list.items.size()), list.items));
  const auto arrivals = fetch(params.arrivals, list.merges.size());
  EXPECT_EQ(std::count(arrivals.begin(), arrivals.end(), 0u), static_cast<std::ptrdiff_t>(arrivals.size()));
}

TEST_F(CudaAttentionDevicePlan, ListsAreThoseOfTheHost) {
  std::mt19937 random(1);
  std::vector<int> skewed(63, 1024), lengths, many;
  skewed.insert(skewed.begin(), 65536);
  for (int i = 0; i < 64; ++i) lengths.push_back(static_cast<int>(random() % 8192));
  for (int i = 0; i < 700; ++i) many.push_back(static_cast<int>(random() % 300));
  const std::vector<std::vector<int>> batches = {
      {8192}, {0},  {0, 0, 70000, 0, 1},     std::vector<int>(128, 4096), lengths,
      skewed, many, {31, 32, 33, 4095, 4097}};
  for (std::size_t i = 0; i < batches.size(); ++i) {
    SCOPED_TRACE("batch " + std::to_string(i));
    const int heads = 1 << i % 4;
    expect_same_lists(batches[i], {.heads_together = heads});
    expect_same_lists(batches[i],
                      {.heads_together = 2, .page_size = 1, .window_left = 1000, .by_kv_len = true});
    expect_same_lists(batches[i], {.heads_together = 2, .blocks = 7, .qo_len = 3, .deterministic = true});
  }
}

// A batch with its operands and index arrays on the GPU.
class DevicePlanned {
 public:
  DevicePlanned(AttentionBatch& batch, const AttentionCapacity& capacity)
      : batch_(batch),
        qo_(batch.qo_indptr),
        kv_(batch.kv_indptr),
        pages_(batch.kv_indices),
        last_(batch.last_page_len) {
    const op::Operator& op = ops::batch_attention_operator(true);
    args_ = {batch.plan, batch.run};
    for (const op::Operand& operand : op.operands) {
      TensorView& view = operand.view(&args_);
      if (!view.given() || operand.on_host) continue;
      copies_.push_back(std::make_unique<test::DeviceCopy>(view, 0));
      view = copies_.back()->view();
      if (operand.name == "out" || operand.name == "lse") outputs_.push_back(copies_.back().get());
    }
    args_.plan.device = kGpu;
    args_.plan.capacity = capacity;
    args_.plan.qo_indptr = qo_.view();
    args_.plan.kv_indptr = kv_.view();
    args_.plan.kv_indices = pages_.view();
    args_.plan.last_page_len = last_.view();
  }
  AttentionPlanArgs& plan() { return args_.plan; }
  const AttentionRunArgs& run() const { return args_.run; }
  // Other lengths of as many requests; the cache and its pages stay.
  void set_lengths(const AttentionBatch& other) {
    qo_.set(other.qo_indptr);
    kv_.set(other.kv_indptr);
    last_.set(other.last_page_len);
  }
  void set_pages(const AttentionBatch& other) { pages_.set(other.kv_indices); }
  // Brings the outputs to the batch's own.
  void download(const cuda::OwnedStream& stream) {
    stream.synchronize();
    for (test::DeviceCopy* output : outputs_) output->download(true);
  }
  std::vector<char> bits(std::int64_t rows, const cuda::OwnedStream& stream) {
    download(stream);
    const TensorView out = batch_.run.out.slice(0, 0, rows);
    const auto* bytes = static_cast<const char*>(out.data);
    return {bytes, bytes + out.bytes()};
  }

 private:
  AttentionBatch& batch_;
  Indices qo_, kv_, pages_, last_;
  ops::BatchAttentionArgs args_;
  std::vector<std::unique_ptr<test::DeviceCopy>> copies_;
  std::vector<test::DeviceCopy*> outputs_;
};

constexpr test::BatchShape kShape = {.num_qo_heads = 4, .num_kv_heads = 2};

AttentionCapacity capacity_of(const AttentionBatch& batch, int qo_len) {
  return {.max_batch_size = static_cast<int>(batch.last_page_len.size()),
          .max_query_tokens = batch.qo_indptr.back(),
          .max_qo_len = qo_len,
          .max_kv_tokens = 1 << 20};
}

TEST_F(CudaAttentionDevicePlan, MatchesTheReference) {
  const std::vector<RequestShape> requests = {{1, 1}, {2, 0}, {2, 33}, {1, 1200}, {1, 16}};
  for (const bool deterministic : {false, true}) {
    AttentionBatch batch(requests, kShape);
    batch.plan.options.deterministic = deterministic;
    EXPECT_TRUE(batch.passes_when(
        [&](AttentionBatch& b) {
          DevicePlanned gpu(b, capacity_of(b, 2));
          const cuda::OwnedStream stream(kGpu);
          BatchAttention attention;
          attention.plan_on_device(gpu.plan(), Stream(stream));
          attention.run(gpu.run(), Stream(stream));
          gpu.download(stream);
        },
        DeviceType::kCuda))
        << batch.worst();
  }
}

// Plan and run in one graph: a replay follows the lengths that are in the device's memory then.
TEST_F(CudaAttentionDevicePlan, ReplaysFollowTheLengthsOnTheDevice) {
  const std::vector<std::vector<RequestShape>> rounds = {
      {{1, 40}, {1, 1500}}, {{1, 1200}, {1, 3}}, {{0, 0}, {1, 700}}};
  AttentionBatch first(rounds[0], kShape);
  DevicePlanned gpu(first, capacity_of(first, 1));
  const cuda::OwnedStream stream(kGpu);
  BatchAttention attention;
  const auto plan_and_run = [&] {
    attention.plan_on_device(gpu.plan(), Stream(stream));
    attention.run(gpu.run(), Stream(stream));
  };
  plan_and_run();
  stream.synchronize();
  const cuda::Graph graph(kGpu, stream, plan_and_run);
  std::vector<std::vector<char>> seen;
  for (const std::vector<RequestShape>& requests : rounds) {
    const AttentionBatch batch(requests, kShape);
    gpu.set_lengths(batch);
    graph.launch(stream);
    const std::int64_t rows = batch.qo_indptr.back();
    seen.push_back(gpu.bits(rows, stream));
    // The same, planned by the host.
    BatchAttention by_host;
    AttentionPlanArgs plan = gpu.plan();
    plan.qo_indptr = batch.plan.qo_indptr;
    plan.kv_indptr = batch.plan.kv_indptr;
    plan.kv_indices = TensorView::of(first.kv_indices);
    plan.last_page_len = batch.plan.last_page_len;
    by_host.plan(plan, Stream(stream));
    by_host.run(gpu.run(), Stream(stream));
    EXPECT_EQ(gpu.bits(rows, stream), seen.back());
  }
  EXPECT_NE(seen[0], seen[1]);
}

// Numbers that contradict each other: that request's rows stay as they are, the others' are right.
TEST_F(CudaAttentionDevicePlan, ARequestThatCannotBeIsLeftOut) {
  AttentionBatch batch({{1, 40}, {1, 50}}, kShape);
  DevicePlanned gpu(batch, capacity_of(batch, 1));
  const cuda::OwnedStream stream(kGpu);
  BatchAttention attention;
  attention.plan_on_device(gpu.plan(), Stream(stream));
  attention.run(gpu.run(), Stream(stream));
  const std::vector<char> right = gpu.bits(2, stream);
  AttentionBatch wrong({{1, 40}, {1, 50}}, kShape);
  wrong.last_page_len[1] = 17;
  gpu.set_lengths(wrong);
  op::fill_poison(batch.run.out);
  attention.plan_on_device(gpu.plan(), Stream(stream));
  attention.run(gpu.run(), Stream(stream));
  EXPECT_EQ(gpu.bits(2, stream), right) << "the first as before, the second still from the call before";
}

// The checking mode names the request and its page, which the host has never seen.
TEST_F(CudaAttentionDevicePlan, CheckingFindsWhatTheHostCannotSee) {
  AttentionBatch batch({{1, 40}, {1, 50}}, kShape);
  const cuda::OwnedStream stream(kGpu);
  const auto error = [&](auto change) {
    AttentionBatch changed({{1, 40}, {1, 50}}, kShape);
    change(changed);
    DevicePlanned gpu(batch, capacity_of(batch, 1));
    BatchAttention attention;
    gpu.set_lengths(changed);
    gpu.set_pages(changed);
    setenv("STROBE_CHECK_INDICES", "1", 1);
    attention.plan_on_device(gpu.plan(), Stream(stream));
    unsetenv("STROBE_CHECK_INDICES");
    try {
      attention.run(gpu.run(), Stream(stream));
    } catch (const Error& fault) {
      return std::string(fault.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error([](AttentionBatch&) {}), "no error");
  EXPECT_THAT(
      error([](AttentionBatch& b) { b.kv_indices[5] = 7; }),
      HasSubstr("kv_indices: expected page numbers in [0, num_pages = 7), got 7 as page 2 of request 1"));
  EXPECT_THAT(error([](AttentionBatch& b) { b.kv_indices[0] = -1; }),
              HasSubstr("got -1 as page 0 of request 0"));
  EXPECT_THAT(error([](AttentionBatch& b) { b.last_page_len[1] = 17; }),
              HasSubstr("got others for request 1"));
}

TEST_F(CudaAttentionDevicePlan, MisuseIsAnError) {
  AttentionBatch batch({{1, 40}, {1, 50}}, kShape);
  DevicePlanned gpu(batch, capacity_of(batch, 1));
  const cuda::OwnedStream stream(kGpu);
  BatchAttention attention;
  const auto error = [&](auto change) {
    AttentionPlanArgs plan = gpu.plan();
    change(plan);
    return error_message([&] { attention.plan_on_device(plan, Stream(stream)); });
  };
  EXPECT_THAT(error([](AttentionPlanArgs& plan) { plan.capacity = {}; }),
              HasSubstr("capacity: expected max_batch_size and max_query_tokens"));
  EXPECT_THAT(error([](AttentionPlanArgs& plan) { plan.capacity.max_batch_size = 1; }),
              HasSubstr("qo_indptr: expected 1 to max_batch_size + 1 = 2 elements, got 3"));
  EXPECT_THAT(error([&](AttentionPlanArgs& plan) { plan.kv_indptr = batch.plan.kv_indptr; }),
              HasSubstr("kv_indptr: expected i32[3], dense, on cuda:0, got"));
  EXPECT_THAT(error([](AttentionPlanArgs& plan) { plan.last_page_len = {}; }),
              HasSubstr("last_page_len: expected exactly one of last_page_len and kv_len, got neither"));
  EXPECT_THAT(error([](AttentionPlanArgs& plan) { plan.device = {}; }),
              HasSubstr("device: expected a GPU for plan_on_device, got cpu"));
  EXPECT_THAT(error([](AttentionPlanArgs& plan) {
                plan.capacity.max_qo_len = 100;
                plan.capacity.max_query_tokens = 100;
              }),
              HasSubstr("expected what the decode kernel serves"));
  EXPECT_THAT(error([](AttentionPlanArgs& plan) { plan.options.mask = MaskMode::kCustom; }),
              HasSubstr("mask: expected none or causal"));
  EXPECT_THAT(error_message([&] { attention.run(gpu.run(), Stream(stream)); }),
              HasSubstr("expected a successful plan before it"));
  gpu.plan().capacity.max_query_tokens = 3;
  attention.plan_on_device(gpu.plan(), Stream(stream));
  EXPECT_THAT(error_message([&] { attention.run(gpu.run(), Stream(stream)); }),
              HasSubstr("q: expected at least the 3 query rows planned"));
}

}  // namespace
}  // namespace strobe
