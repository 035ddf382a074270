// The decode kernel of attention on a GPU, over the batches that serving brings.
//
//   cuda_attention [part of a name]
//
// Launches are recorded into a graph and replayed, a row is
// the median of kRepetitions replays. Caches are rotated so that kBetween bytes at least lie between two uses
// of one, pages are in random order, the data is random. TB/s are those of K and V.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numbers>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/event.h"
#include "cuda/graph.h"
#include "op/random.h"
#include "ops/attention_cuda.h"
#include "ops/attention_decode_cuda.h"
#include "strobe/error.h"
#include "strobe/tensor.h"

namespace {

using namespace strobe;

constexpr Device kGpu{DeviceType::kCuda, 0};
constexpr int kRepetitions = 7;
constexpr std::size_t kBetween = std::size_t{400} << 20;
constexpr double kReplaySeconds = 10e-3;

struct Setting {
  std::string name;
  std::vector<int> kv_lens;
  int kv_heads = 8, group = 4, page_size = 16, head_dim = 128, q_tokens = 1;
  Dtype kv_dtype = Dtype::kBf16;
  bool hnd = false, deterministic = false;
};

std::vector<Setting> settings() {
  const auto batch = [](int size, int length) {
    return std::vector<int>(static_cast<std::size_t>(size), length);
  };
  std::vector<int> skewed = batch(63, 1024), random;
  skewed.insert(skewed.begin(), 65536);
  std::mt19937 engine(3);
  for (int i = 0; i < 64; ++i) random.push_back(64 + static_cast<int>(engine() % 8129));
  return {
      {"B128", batch(128, 4096)},
      {"B128 p64", batch(128, 4096), 8, 4, 64},
      {"B128 HND", batch(128, 4096), 8, 4, 16, 128, 1, Dtype::kBf16, true},
      {"B128 p64 HND", batch(128, 4096), 8, 4, 64, 128, 1, Dtype::kBf16, true},
      {"B128 64/8", batch(128, 4096), 8, 8},
      {"B64 32/32", batch(64, 4096), 32, 1},
      {"B64 p16", batch(64, 4096)},
      {"B64 p1", batch(64, 4096), 8, 4, 1},
      {"B16 p16", batch(16, 4096)},
      {"B16 p64", batch(16, 4096), 8, 4, 64},
      {"B1 8k", batch(1, 8192)},
      {"B1 8k p64", batch(1, 8192), 8, 4, 64},
      {"B1 128k", batch(1, 131072)},
      {"skewed", skewed},
      {"skewed p64", skewed, 8, 4, 64},
      {"random 64..8192", random},
      {"e4m3 B128 p64", batch(128, 4096), 8, 4, 64, 128, 1, Dtype::kE4m3},
      {"e4m3 B128 p64 64/8", batch(128, 4096), 8, 8, 64, 128, 1, Dtype::kE4m3},
      {"e4m3 B128 p16", batch(128, 4096), 8, 4, 16, 128, 1, Dtype::kE4m3},
      {"D64 B64", batch(64, 4096), 8, 4, 16, 64},
      {"D64 B64 p64", batch(64, 4096), 8, 4, 64, 64},
      {"D96 B64", batch(64, 4096), 8, 4, 16, 96},
      {"D192 B64", batch(64, 4096), 8, 4, 16, 192},
      {"D256 B64", batch(64, 4096), 8, 4, 16, 256},
      {"D512 B64", batch(64, 4096), 8, 4, 16, 512},
      {"4 tokens B64", batch(64, 4096), 8, 4, 16, 128, 4},
      {"deterministic B128", batch(128, 4096), 8, 4, 16, 128, 1, Dtype::kBf16, false, true},
      {"deterministic B16", batch(16, 4096), 8, 4, 16, 128, 1, Dtype::kBf16, false, true},
      {"deterministic skewed", skewed, 8, 4, 16, 128, 1, Dtype::kBf16, false, true},
  };
}

// Memory for caches, full of random numbers.
class Arena {
 public:
  explicit Arena(std::size_t bytes) : buffer_(kGpu, bytes) {}

  char* filled(Dtype dtype) {
    if (dtype != filled_) {
      const Tensor numbers(dtype, {kPool / static_cast<std::int64_t>(size_of(dtype))});
      op::Random random(1);
      op::fill_normal(numbers, random);
      const auto bytes = std::span(numbers.as<const std::byte>(), static_cast<std::size_t>(kPool));
      for (std::size_t at = 0; at < buffer_.bytes(); at += bytes.size())
        buffer_.upload(bytes.first(std::min(bytes.size(), buffer_.bytes() - at)), at);
      filled_ = dtype;
    }
    return static_cast<char*>(buffer_.data());
  }
  std::size_t bytes() const { return buffer_.bytes(); }

 private:
  static constexpr std::int64_t kPool = (32 << 20) + 4096;
  cuda::DeviceBuffer buffer_;
  Dtype filled_ = Dtype::kBool;
};

template <class T>
cuda::DeviceBuffer on_device(const std::vector<T>& values) {
  cuda::DeviceBuffer buffer(kGpu, std::max<std::size_t>(16, values.size() * sizeof(T)));
  if (!values.empty()) buffer.upload(std::as_bytes(std::span(values)));
  return buffer;
}

class Runner {
 public:
  Runner(const Setting& setting, Arena& arena) : setting_(setting), gpu_(op::gpu_of(kGpu)) {
    plan();
    bind(arena.filled(setting.kv_dtype), arena.bytes());
  }

  void run(int cache, Stream stream) {
    params_.k = caches_ + static_cast<std::int64_t>(cache) * cache_bytes_;
    params_.v = params_.k + cache_bytes_ / 2;
    op::launch_decode(choice_, params_, gpu_, stream);
  }

  int copies() const { return copies_; }
  double kv_bytes() const { return kv_bytes_; }
  std::string text() const {
    return fmt::format("heads {} parts {} plan {:.1f} us", choice_.heads_together, list_.slots, plan_us_);
  }

 private:
  void plan() {
    std::vector<plan::AttentionRequest> requests;
    std::int32_t pages = 0, tokens = 0;
    for (const int length : setting_.kv_lens) {
      requests.push_back({.request = static_cast<std::int32_t>(requests.size()),
                          .q_row = tokens,
                          .qo_len = setting_.q_tokens,
                          .kv_base = pages,
                          .kv_len = length});
      pages += (length + setting_.page_size - 1) / setting_.page_size;
      tokens += setting_.q_tokens;
      kv_bytes_ += 2.0 * length * setting_.kv_heads * setting_.head_dim *
                   static_cast<double>(size_of(setting_.kv_dtype));
    }
    pages_ = pages;
    tokens_ = tokens;
    const op::AttentionCudaShape shape{.q_dtype = Dtype::kBf16,
                                       .kv_dtype = setting_.kv_dtype,
                                       .num_qo_heads = setting_.kv_heads * setting_.group,
                                       .num_kv_heads = setting_.kv_heads,
                                       .head_dim_qk = setting_.head_dim,
                                       .head_dim_vo = setting_.head_dim,
                                       .page_size = setting_.page_size,
                                       .mask = MaskMode::kCausal,
                                       .window_left = -1,
                                       .soft_cap = false,
                                       .alibi = false,
                                       .rope = false,
                                       .deterministic = setting_.deterministic,
                                       .backend = Backend::kCudaSm80,
                                       .fixed = false,
                                       .max_batch_size = static_cast<int>(requests.size()),
                                       .max_qo_len = setting_.q_tokens,
                                       .max_query_tokens = tokens};
    double best = 1e9;
    for (int i = 0; i < 20; ++i) {
      const auto start = std::chrono::steady_clock::now();
      choice_ = op::choose_decode(shape, requests, gpu_);
      op::plan_decode(choice_, shape, requests, list_);
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    plan_us_ = best * 1e6;
  }

  void bind(char* caches, std::size_t arena_bytes) {
    const std::int64_t element = static_cast<std::int64_t>(size_of(setting_.kv_dtype));
    const std::int64_t row = setting_.head_dim * element, page = row * setting_.page_size * setting_.kv_heads;
    caches_ = caches;
    cache_bytes_ = 2 * page * pages_;
    copies_ = static_cast<int>(std::max<std::size_t>(
        1, (kBetween + static_cast<std::size_t>(cache_bytes_) - 1) / static_cast<std::size_t>(cache_bytes_)));
    if (static_cast<std::size_t>(copies_ * cache_bytes_) > arena_bytes)
      fail(ErrorKind::kInvalidArgument, "{}: the arena is too small", setting_.name);
    std::vector<std::int32_t> indices(static_cast<std::size_t>(pages_));
    std::iota(indices.begin(), indices.end(), 0);
    std::shuffle(indices.begin(), indices.end(), std::mt19937(7));
    const std::int64_t q_heads = setting_.kv_heads * setting_.group, q_row = setting_.head_dim * 2;
    const Tensor q(Dtype::kBf16, {tokens_, q_heads, setting_.head_dim});
    op::Random random(2);
    op::fill_normal(q, random);
    const std::int64_t partials = std::int64_t{list_.slots} * list_.partial_rows;
    for (cuda::DeviceBuffer* buffer : {&q_, &out_})
      *buffer = cuda::DeviceBuffer(kGpu, static_cast<std::size_t>(q.view().bytes()));
    q_.upload({q.as<const std::byte>(), static_cast<std::size_t>(q.view().bytes())});
    lse_ = cuda::DeviceBuffer(kGpu, static_cast<std::size_t>(tokens_ * q_heads * 4));
    partial_out_ = cuda::DeviceBuffer(kGpu, static_cast<std::size_t>(partials * setting_.head_dim * 4 + 16));
    partial_lse_ = cuda::DeviceBuffer(kGpu, static_cast<std::size_t>(partials * 4 + 16));
    indices_ = on_device(indices);
    items_ = on_device(list_.items);
    runs_ = on_device(list_.runs);
    merges_ = on_device(list_.merges);
    arrivals_ = on_device(std::vector<std::uint32_t>(list_.merges.size()));
    const float scale = 1 / std::sqrt(static_cast<float>(setting_.head_dim));
    const std::int64_t token_stride = setting_.hnd ? row : row * setting_.kv_heads,
                       head_stride = setting_.hnd ? row * setting_.page_size : row;
    params_ = {.q = static_cast<const char*>(q_.data()),
               .q_stride_token = q_row * q_heads,
               .q_stride_head = q_row,
               .k_stride_page = page,
               .k_stride_token = token_stride,
               .k_stride_head = head_stride,
               .v_stride_page = page,
               .v_stride_token = token_stride,
               .v_stride_head = head_stride,
               .out = static_cast<char*>(out_.data()),
               .out_stride_token = q_row * q_heads,
               .out_stride_head = q_row,
               .lse = static_cast<float*>(lse_.data()),
               .lse_stride_token = q_heads * 4,
               .lse_stride_head = 4,
               .kv_indices = static_cast<const std::int32_t*>(indices_.data()),
               .page_size = op::divisor(setting_.page_size),
               .group = op::divisor(setting_.group),
               .num_kv_heads = setting_.kv_heads,
               .head_dim_qk = setting_.head_dim,
               .head_dim_vo = setting_.head_dim,
               .q_dtype = static_cast<std::int32_t>(Dtype::kBf16),
               .kv_dtype = static_cast<std::int32_t>(setting_.kv_dtype),
               .out_dtype = static_cast<std::int32_t>(Dtype::kBf16),
               .scale = scale,
               .scale_log2 = scale * std::numbers::log2e_v<float>,
               .v_scale = 1,
               .causal = 1,
               .window_left = -1,
               .items = static_cast<const kernel::AttentionItem*>(items_.data()),
               .runs = static_cast<const kernel::AttentionRun*>(runs_.data()),
               .merges = static_cast<const kernel::AttentionMerge*>(merges_.data()),
               .arrivals = static_cast<std::uint32_t*>(arrivals_.data()),
               .partial_out = static_cast<float*>(partial_out_.data()),
               .partial_lse = static_cast<float*>(partial_lse_.data()),
               .partial_rows = list_.partial_rows};
  }

  const Setting& setting_;
  op::Gpu gpu_;
  op::DecodeChoice choice_;
  plan::DeviceWorkList list_;
  kernel::AttentionParams params_{};
  cuda::DeviceBuffer q_, out_, lse_, partial_out_, partial_lse_, indices_, items_, runs_, merges_, arrivals_;
  char* caches_ = nullptr;
  std::int64_t cache_bytes_ = 0;
  int copies_ = 1;
  std::int32_t pages_ = 0, tokens_ = 0;
  double kv_bytes_ = 0, plan_us_ = 0;
};

// Seconds of one call.
double time(Runner& runner) {
  const cuda::OwnedStream stream(kGpu);
  runner.run(0, stream);
  stream.synchronize();
  const int rounds =
      std::max(1, static_cast<int>(kReplaySeconds / (runner.kv_bytes() / 4.2e12 + 6e-6) / runner.copies()));
  const cuda::Graph graph(kGpu, stream, [&] {
    for (int i = 0; i < rounds * runner.copies(); ++i) runner.run(i % runner.copies(), stream);
  });
  std::vector<double> milliseconds;
  for (int i = 0; i < kRepetitions + 2; ++i) {
    cuda::Event start(kGpu), end(kGpu);
    start.record(stream);
    graph.launch(stream);
    end.record(stream);
    end.wait();
    if (i >= 2) milliseconds.push_back(cuda::milliseconds_between(start, end));
  }
  std::nth_element(milliseconds.begin(), milliseconds.begin() + kRepetitions / 2, milliseconds.end());
  return milliseconds[kRepetitions / 2] * 1e-3 / (rounds * runner.copies());
}

}  // namespace

int main(int argc, char** argv) try {
  Arena arena(std::size_t{4400} << 20);
  for (const Setting& setting : settings()) {
    if (argc > 1 && setting.name.find(argv[1]) == std::string::npos) continue;
    Runner runner(setting, arena);
    const double seconds = time(runner);
    fmt::print("{:24} {:9.2f} us {:6.3f} TB/s  {}\n", setting.name, seconds * 1e6,
               runner.kv_bytes() / seconds * 1e-12, runner.text());
    std::fflush(stdout);
  }
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
