// The operators whose time is that of their memory traffic, on a GPU, beside a copy measured in turn with
// them.
//
//   cuda_memory_ops [part of a name]
//
// Launches are recorded into a graph and replayed; a row is the median of kRepetitions replays. `cold` rows
// go through so many instances of their tensors that more than kCachesBetween times the L2 cache is touched
// before one is used again; `warm` rows use one instance. Data is random. `of copy` is the row's bytes a
// second over those of the device's own copy of 512 MiB; cold small cases show the latency of a launch rather
// than bandwidth.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/driver.h"
#include "cuda/event.h"
#include "cuda/graph.h"
#include "op/call.h"
#include "op/operator.h"
#include "strobe/error.h"

namespace {

using namespace strobe;

constexpr Device kGpu{DeviceType::kCuda, 0};
constexpr int kRepetitions = 11;
constexpr int kCachesBetween = 2;
constexpr std::size_t kCopyBytes = std::size_t{512} << 20;

using Values = std::vector<std::pair<std::string_view, std::string_view>>;

struct Row {
  std::string_view routine;
  Values values;
};

// A problem's operands on the GPU.
class GpuProblem {
 public:
  GpuProblem(const Row& row, std::uint64_t seed) {
    const op::NamedRoutine routine = op::find_routine(row.routine);
    op::Case parameters(routine.routine.parameters);
    for (const auto& [name, value] : row.values) parameters.set(name, std::string(value));
    op::Random random(seed);
    problem_ = routine.routine.make(*routine.op, parameters, random);
    bytes_ = routine.op->cost(problem_.args.get(), problem_.axes).bytes;
    for (const op::Operand& operand : routine.op->operands) {
      TensorView& view = operand.view(problem_.args.get());
      if (!view.given()) continue;
      const auto bytes = static_cast<std::size_t>(view.bytes());
      buffers_.emplace_back(kGpu, bytes);
      buffers_.back().upload({view.as<const std::byte>(), bytes});
      view.data = buffers_.back().data();
      view.device = kGpu;
    }
    problem_.tensors.clear();
  }
  void run(Stream stream) const { op::call_erased(*problem_.op, problem_.args.get(), stream); }
  double bytes() const { return bytes_; }

 private:
  op::Problem problem_;
  double bytes_ = 0;
  std::vector<cuda::DeviceBuffer> buffers_;
};

// Seconds of one replay.
double seconds(const cuda::Graph& graph, Stream stream) {
  cuda::Event start(kGpu), end(kGpu);
  start.record(stream);
  graph.launch(stream);
  end.record(stream);
  end.wait();
  return cuda::milliseconds_between(start, end) * 1e-3;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The device's own copy between two buffers. Not through a graph: a copy in one reaches 2.7 TB/s on an H200
// where the same call in a stream reaches 4.2.
class Copy {
 public:
  Copy() : from_(kGpu, kCopyBytes), to_(kGpu, kCopyBytes) { from_.fill(0x5a); }
  double seconds(Stream stream) const {
    cuda::Event start(kGpu), end(kGpu);
    start.record(stream);
    enqueue(stream);
    end.record(stream);
    end.wait();
    return cuda::milliseconds_between(start, end) * 1e-3;
  }
  static constexpr double bytes() { return 2.0 * kCopyBytes; }

 private:
  void enqueue(Stream stream) const {
    const cuda::ContextGuard context(kGpu.index);
    cuda::check(cuda::driver().cuMemcpyDtoDAsync_v2(reinterpret_cast<cuda::DevicePointer>(to_.data()),
                                                    reinterpret_cast<cuda::DevicePointer>(from_.data()),
                                                    kCopyBytes, cuda::handle_of(stream)),
                "cuMemcpyDtoDAsync");
  }
  cuda::DeviceBuffer from_, to_;
};

std::string label_of(const Row& row) {
  std::string label(row.routine);
  for (const auto& [name, value] : row.values) label += fmt::format(" --{} {}", name, value);
  return label;
}

void measure(const Row& row, bool cold, const Copy& copy, Stream stream) {
  std::vector<GpuProblem> instances;
  instances.emplace_back(row, 1);
  const double bytes = instances[0].bytes();
  const double caches = kCachesBetween * static_cast<double>(cuda::device_facts(kGpu).l2_bytes);
  const int count = cold ? 1 + static_cast<int>(std::ceil(caches / bytes)) : 1;
  for (int i = 1; i < count; ++i) instances.emplace_back(row, static_cast<std::uint64_t>(i) + 1);
  for (const GpuProblem& instance : instances) instance.run(stream);  // compiles, which a capture cannot
  constexpr double kReplaySeconds = 2e-3, kGuessedRate = 4e12, kGuessedLaunch = 2e-6;
  const int rounds = 1 + static_cast<int>(kReplaySeconds / (bytes / kGuessedRate + kGuessedLaunch) / count);
  const cuda::Graph graph(kGpu, stream, [&] {
    for (int round = 0; round < rounds; ++round)
      for (const GpuProblem& instance : instances) instance.run(stream);
  });
  seconds(graph, stream);
  copy.seconds(stream);
  std::vector<double> times, copies;
  for (int i = 0; i < kRepetitions; ++i) {
    copies.push_back(copy.seconds(stream));
    times.push_back(seconds(graph, stream) / (rounds * count));
  }
  const double time = median(times), copy_rate = Copy::bytes() / median(copies), rate = bytes / time;
  fmt::print("{:9.2f} {:8.3f} {:8.3f} {:8.3f}  {} {}\n", time * 1e6, rate / 1e12, copy_rate / 1e12,
             rate / copy_rate, cold ? "cold" : "warm", label_of(row));
  std::fflush(stdout);
}

const std::vector<Row>& large_rows() {
  static const std::vector<Row> rows = {
      {"rmsnorm", {{"num_tokens", "16384"}, {"hidden", "8192"}}},
      {"fused_add_rmsnorm", {{"num_tokens", "16384"}, {"hidden", "8192"}}},
      {"rmsnorm_quant", {{"num_tokens", "16384"}, {"hidden", "8192"}}},
      {"fused_add_rmsnorm_quant", {{"num_tokens", "16384"}, {"hidden", "8192"}}},
      {"layernorm", {{"num_tokens", "16384"}, {"hidden", "8192"}}},
      {"silu_and_mul", {{"num_tokens", "16384"}, {"hidden", "8192"}}},
      {"gelu_tanh_and_mul", {{"num_tokens", "16384"}, {"hidden", "8192"}}},
      {"apply_rope_pos_ids", {{"nnz", "32768"}, {"num_qo_heads", "32"}, {"num_kv_heads", "8"}}},
      {"apply_rope_pos_ids",
       {{"nnz", "32768"}, {"num_qo_heads", "32"}, {"num_kv_heads", "8"}, {"interleave", "true"}}},
      {"apply_rope_with_cos_sin_cache", {{"nnz", "32768"}, {"num_qo_heads", "32"}, {"num_kv_heads", "8"}}},
      {"append_paged_kv_cache", {{"nnz", "32768"}, {"num_pages", "2560"}, {"num_kv_indices", "2560"}}},
      {"append_paged_kv_cache",
       {{"nnz", "32768"}, {"num_pages", "2560"}, {"num_kv_indices", "2560"}, {"kv_layout", "HND"}}},
      {"append_paged_kv_cache",
       {{"nnz", "32768"}, {"num_pages", "2560"}, {"num_kv_indices", "2560"}, {"k_cache_dtype", "e4m3"}}},
      {"merge_state", {{"num_tokens", "16384"}}},
      {"merge_states", {{"num_tokens", "8192"}}},
      {"packbits", {{"num_elements", "536870912"}}},
      {"rmsnorm", {{"num_tokens", "4096"}, {"hidden", "4096"}}},
      {"fused_add_rmsnorm", {{"num_tokens", "4096"}, {"hidden", "4096"}}},
      {"silu_and_mul", {{"num_tokens", "4096"}, {"hidden", "4096"}}},
      {"apply_rope_pos_ids", {{"nnz", "4096"}, {"num_qo_heads", "32"}, {"num_kv_heads", "8"}}},
      {"rmsnorm", {{"num_tokens", "131072"}, {"hidden", "128"}}},
  };
  return rows;
}

const std::vector<Row>& small_rows() {
  static const std::vector<Row> rows = {
      {"rmsnorm", {{"num_tokens", "128"}, {"hidden", "4096"}}},
      {"fused_add_rmsnorm", {{"num_tokens", "128"}, {"hidden", "4096"}}},
      {"fused_add_rmsnorm_quant", {{"num_tokens", "128"}, {"hidden", "4096"}}},
      {"silu_and_mul", {{"num_tokens", "128"}, {"hidden", "4096"}}},
      {"apply_rope_pos_ids", {{"nnz", "128"}, {"num_qo_heads", "32"}, {"num_kv_heads", "8"}}},
      {"append_paged_kv_cache", {{"nnz", "256"}, {"batch_size", "256"}}},
  };
  return rows;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view filter = argc > 1 ? argv[1] : "";
  if (const std::string& problem = cuda::driver_status().problem; !problem.empty()) {
    fmt::print("nothing measured: {}\n", problem);
    return 0;
  }
  try {
    const cuda::DeviceFacts& facts = cuda::device_facts(kGpu);
    fmt::print("{}, {} SMs, {} MiB of L2\n{:>9} {:>8} {:>8} {:>8}\n", facts.name, facts.sm_count,
               facts.l2_bytes >> 20, "us", "TB/s", "copy", "of copy");
    const cuda::OwnedStream stream(kGpu);
    const Copy copy;
    for (const std::vector<Row>* rows : {&large_rows(), &small_rows()})
      for (const Row& row : *rows) {
        if (label_of(row).find(filter) == std::string::npos) continue;
        measure(row, true, copy, stream);
        if (rows == &small_rows()) measure(row, false, copy, stream);
      }
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
