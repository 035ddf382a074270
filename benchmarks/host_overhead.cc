// What a call costs on the host beside its kernel: plan of a batch, calls that have nothing to compute, and
// launches on a GPU.
#include <benchmark/benchmark.h>

#include <chrono>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/driver.h"
#include "jit/kernels.h"
#include "norm/norm_params.h"
#include "op/random.h"
#include "strobe/strobe.h"

namespace {

using strobe::TensorView;

// 256 requests of a server: most decode, some are chunks of prefill; lengths from 1 to 8192.
struct MixedBatch {
  std::vector<std::int32_t> qo_indptr = {0}, kv_indptr = {0}, kv_indices, last_page_len;
  // Every `prefill_every`-th request is a chunk; 0: none.
  explicit MixedBatch(int requests, int page_size, int prefill_every = 32) {
    strobe::op::Random random(1);
    for (int request = 0; request < requests; ++request) {
      const auto kv_len = static_cast<std::int32_t>(random.integer(1, 8192));
      const bool chunk = prefill_every > 0 && request % prefill_every == 0;
      const std::int32_t qo_len = chunk ? std::min(kv_len, 256) : 1;
      qo_indptr.push_back(qo_indptr.back() + qo_len);
      const std::int32_t pages = (kv_len + page_size - 1) / page_size;
      kv_indptr.push_back(kv_indptr.back() + pages);
      last_page_len.push_back((kv_len - 1) % page_size + 1);
    }
    for (std::int32_t page = 0; page < kv_indptr.back(); ++page) kv_indices.push_back(page);
  }
  strobe::AttentionPlanArgs plan(int page_size) {
    return {.qo_indptr = TensorView::of(qo_indptr),
            .kv_indptr = TensorView::of(kv_indptr),
            .kv_indices = TensorView::of(kv_indices),
            .last_page_len = TensorView::of(last_page_len),
            .num_qo_heads = 32,
            .num_kv_heads = 8,
            .head_dim_qk = 128,
            .page_size = page_size,
            .options = {.mask = strobe::MaskMode::kCausal}};
  }
};

void plan_mixed_batch(benchmark::State& state) {
  const auto page_size = static_cast<int>(state.range(1));
  MixedBatch batch(static_cast<int>(state.range(0)), page_size);
  strobe::BatchAttention attention;
  const strobe::AttentionPlanArgs args = batch.plan(page_size);
  for (auto _ : state) attention.plan(args);
}
BENCHMARK(plan_mixed_batch)
    ->ArgNames({"requests", "page_size"})
    ->Args({256, 16})
    ->Args({256, 64})
    ->Args({256, 1})
    ->Args({16, 16})
    ->Unit(benchmark::kMicrosecond);

void run_empty_attention(benchmark::State& state) {
  MixedBatch batch(0, 16);
  batch.kv_indices = {};
  strobe::BatchAttention attention;
  attention.plan(batch.plan(16));
  const strobe::Tensor q(strobe::Dtype::kBf16, {0, 32, 128}), k(strobe::Dtype::kBf16, {4, 16, 8, 128}),
      v(strobe::Dtype::kBf16, {4, 16, 8, 128}), out(strobe::Dtype::kBf16, {0, 32, 128}),
      lse(strobe::Dtype::kF32, {0, 32});
  for (auto _ : state) attention.run({.q = q, .k = k, .v = v, .sinks = {}, .out = out, .lse = lse});
}
BENCHMARK(run_empty_attention);

void rmsnorm_of_no_tokens(benchmark::State& state) {
  const strobe::Tensor x(strobe::Dtype::kBf16, {0, 4096}), weight(strobe::Dtype::kBf16, {4096}),
      y(strobe::Dtype::kBf16, {0, 4096});
  for (auto _ : state) strobe::rmsnorm({.input = x, .weight = weight, .out = y});
}
BENCHMARK(rmsnorm_of_no_tokens);

void rmsnorm_of_one_token(benchmark::State& state) {
  strobe::op::Random random(1);
  const strobe::Tensor x(strobe::Dtype::kBf16, {1, 64}), weight(strobe::Dtype::kBf16, {64}),
      y(strobe::Dtype::kBf16, {1, 64});
  strobe::op::fill_normal(x, random);
  strobe::op::fill_normal(weight, random);
  for (auto _ : state) strobe::rmsnorm({.input = x, .weight = weight, .out = y});
}
BENCHMARK(rmsnorm_of_one_token);

constexpr strobe::Device kGpu{strobe::DeviceType::kCuda, 0};

// Seconds of a launch on the host, until it is enqueued. The queue is drained, untimed, before it is so full
// that a launch waits for the GPU.
template <class F>
void time_launches(benchmark::State& state, F launch) {
  using Clock = std::chrono::steady_clock;
  constexpr int kLaunches = 128;
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < kLaunches; ++i) launch();
    state.SetIterationTime(std::chrono::duration<double>(Clock::now() - start).count() / kLaunches);
    strobe::cuda::synchronize(kGpu, {});
  }
}

bool skipped_without_gpu(benchmark::State& state) {
  const std::string& problem = strobe::cuda::driver_status().problem;
  if (!problem.empty()) state.SkipWithError(problem.c_str());
  return !problem.empty();
}

// Without prefill_every all decode. The queue is drained, untimed: a plan waits for the copy of the one
// before the last.
void plan_on_gpu(benchmark::State& state) {
  if (skipped_without_gpu(state)) return;
  const auto page_size = static_cast<int>(state.range(1));
  MixedBatch batch(static_cast<int>(state.range(0)), page_size, static_cast<int>(state.range(2)));
  strobe::BatchAttention attention;
  strobe::AttentionPlanArgs args = batch.plan(page_size);
  args.device = kGpu;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    attention.plan(args);
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    strobe::cuda::synchronize(kGpu, {});
  }
}
BENCHMARK(plan_on_gpu)
    ->ArgNames({"requests", "page_size", "prefill_every"})
    ->Args({256, 16, 0})
    ->Args({256, 64, 0})
    ->Args({256, 16, 32})
    ->Args({16, 16, 0})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

// A call whose kernel is in the kernel map.
void rmsnorm_launch_on_gpu(benchmark::State& state) {
  if (skipped_without_gpu(state)) return;
  const strobe::cuda::ContextGuard context(kGpu.index);  // as most callers have it
  const strobe::Tensor host(strobe::Dtype::kBf16, {1, 64}), host_weight(strobe::Dtype::kBf16, {64});
  const strobe::cuda::DeviceBuffer x_bytes(kGpu, 128), weight_bytes(kGpu, 128), y_bytes(kGpu, 128);
  TensorView x = host, y = host, weight = host_weight;
  x.data = x_bytes.data();
  y.data = y_bytes.data();
  weight.data = weight_bytes.data();
  x.device = y.device = weight.device = kGpu;
  time_launches(state, [&] { strobe::rmsnorm({.input = x, .weight = weight, .out = y}); });
}
BENCHMARK(rmsnorm_launch_on_gpu)->UseManualTime()->Iterations(2000)->Unit(benchmark::kMicrosecond);

// The driver's part of that: the same kernel and attribute by cuLaunchKernelEx alone, of no rows.
void driver_launch_on_gpu(benchmark::State& state) {
  if (skipped_without_gpu(state)) return;
  const strobe::cuda::ContextGuard context(kGpu.index);
  constexpr int kRms = 0, kBf16 = static_cast<int>(strobe::Dtype::kBf16);
  constexpr int kConstants[] = {kRms, kBf16, kBf16, 8, 1, 16, false};
  const strobe::cuda::Kernel& kernel =
      strobe::jit::get(*strobe::jit::kernel_registry().find("norm"), kConstants, kGpu, {});
  strobe::kernel::NormParams params{};
  strobe::cuda::LaunchAttribute overlap{};
  overlap.id = strobe::cuda::kLaunchProgrammaticSerialization;
  overlap.value.flag = 1;
  const strobe::cuda::LaunchRequest request{.grid_x = 1,
                                            .grid_y = 1,
                                            .grid_z = 1,
                                            .block_x = static_cast<unsigned>(kernel.threads),
                                            .block_y = 1,
                                            .block_z = 1,
                                            .attributes = &overlap,
                                            .attribute_count = 1};
  void* pointers[] = {&params};
  const strobe::cuda::DriverApi& api = strobe::cuda::driver();
  time_launches(state, [&] {
    strobe::cuda::check(api.cuLaunchKernelEx(&request, kernel.function, pointers, nullptr), "launch");
  });
}
BENCHMARK(driver_launch_on_gpu)->UseManualTime()->Iterations(2000)->Unit(benchmark::kMicrosecond);

}  // namespace
