// Runs one case: makes its inputs, checks the first result of each level against FP64, times the calls.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/case_line.h"
#include "bench/limit_probe.h"
#include "bench/measure.h"
#include "bench/progress.h"
#include "bench/roofline.h"
#include "cpu/isa.h"
#include "op/check.h"

namespace strobe::bench {

// How calls on a GPU are timed: by events around them, by events around replays of calls that a CUDA graph
// holds, or from the begin of a call's first kernel to the end of its last, as CUPTI records them.
enum class GpuClock { kEvents, kGraph, kCupti };
constexpr std::string_view kGpuClockNames[] = {"events", "graph", "cupti"};
constexpr std::string_view name(GpuClock clock) { return kGpuClockNames[static_cast<int>(clock)]; }

struct RunOptions {
  MeasureOptions measure;
  std::uint64_t random_seed = 42;
  bool refcheck = false;
  bool allow_output_mismatch = false;  // a failed check is shown, and does not fail the run
  std::string case_tag;                // the user's, for his results
  bool generate_repro_command = false;
  int verbosity = 0;                               // how much is said about a row
  bool no_cuda_graph = false, enable_pdl = false;  // FlashInfer's flags; results carry them
  bool use_cupti = false;                          // FlashInfer's: CUPTI where it can be used, else events
  GpuClock gpu_clock = GpuClock::kEvents;
};

// At least this many rows of each output are held against the reference.
inline constexpr std::int64_t kCheckedRows = 64;

// One line of the results.
struct Row {
  std::string routine;
  std::string family;  // of its operator
  std::string backend;
  std::string device;
  std::string isa;  // of a GPU: its architecture
  int threads = 0;  // 0 on a GPU
  op::Case values;
  std::string flags;  // of the case, as written
  RunOptions options;
  std::optional<FlashInferLine> flashinfer;  // where the case came from
  op::Cost cost;
  Traffic traffic;
  Timing timing;
  LimitRates limits;                     // the larger of those just before and just after the timed calls
  Floor floor;                           // against these limits
  int calls_per_sample = 1;              // one after the other within each measured time
  int instances = 0;                     // copies of the inputs that the calls went through
  std::optional<double> plan_seconds;    // median, of operators with a plan
  std::optional<op::CheckResult> check;  // nothing: skipped
  std::string repro;                     // the command line that runs this case alone

  bool on_gpu() const { return threads == 0; }
  bool failed() const { return check && !check->passed; }
  double tflops() const { return cost.flops / timing.median() * 1e-12; }
  double tb_per_sec() const { return cost.bytes / timing.median() * 1e-12; }
  // Fraction of the limits that the median call reached.
  double fraction() const { return floor.seconds / timing.median(); }
};

// A row for each of the levels, which take turns call by call, on the executor as it is. `position` stands
// before the case in the progress line.
std::vector<Row> run_case(const BenchCase& bench_case, const RunOptions& options,
                          std::span<const cpu::Isa> levels, const LimitProbe& probe,
                          std::string_view position, Progress& progress);

}  // namespace strobe::bench
