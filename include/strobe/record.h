// Calls of a running program as workloads of a data set in the FlashInfer-Trace format (docs/trace.md), to be
// benchmarked later.
//
//   WorkloadRecorder recorder({.data_set = "my/data_set", .rule = {.keep = RecordKeep::kFirstByAxes}});
//   recorder.record("rmsnorm_h4096", {strobe_tensor(&x), strobe_tensor(&w)}, stream);
//
// A workload has the sizes of the call, its scalars, and of tensors either the values (integers by default:
// page tables and lengths, without which attention cannot be repeated) or the word random. The values go to a
// safetensors file first, then the workload's line to the data set, each to the disk before the call returns,
// so that a crash leaves no workload without its values. A recorder keeps no tensors, and stops at its
// bounds.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "strobe/c_api.h"
#include "strobe/device.h"
#include "strobe/export.h"

namespace strobe::inline v1 {

// Which calls are kept. Workloads that the data set has already count.
enum class RecordKeep : std::uint8_t {
  kAll,
  kNone,
  kFirst,        // `count` of a definition
  kFirstByAxes,  // `count` of the same sizes
  // `count` of the same number of requests and the same average lengths, rounded: total_q, total_kv and
  // num_kv_indices over the requests (len_indptr - 1, else batch_size). num_pages does not count.
  kFirstByAverageLength,
};

// Of which tensors the values are kept.
enum class RecordValues : std::uint8_t { kIntegers, kAll, kNone, kNamed };

struct RecordRule {
  RecordKeep keep = RecordKeep::kFirstByAxes;
  int count = 1;
  RecordValues values = RecordValues::kIntegers;
  std::vector<std::string> names;  // of kNamed
};

struct RecordOptions {
  std::string data_set;
  RecordRule rule;
  std::map<std::string, RecordRule> by_definition;  // instead of `rule`
  std::int64_t max_workloads = 10000;               // of the data set
  std::int64_t max_bytes = std::int64_t{1} << 30;   // of the data set's safetensors files
};

class STROBE_API WorkloadRecorder {
 public:
  // Reads the data set. Throws Error(kIo) when it cannot be read.
  explicit WorkloadRecorder(const RecordOptions& options);

  // Whether the call was recorded. `arguments` are the definition's inputs in order; outputs may follow.
  // Tensors on a GPU are read when the work before on the stream is done; calls in the midst of a capture are
  // not recorded, nor are those whose arguments are not as the definition says, or that no rule wants. A disk
  // that takes no more ends the recording, with a line on stderr, and not the program.
  bool record(std::string_view definition, std::span<const StrobeValue> arguments, Stream stream = {});
  bool record(std::string_view definition, std::initializer_list<StrobeValue> arguments, Stream stream = {}) {
    return record(definition, std::span(arguments.begin(), arguments.size()), stream);
  }

  // {"definitions": {name: {"recorded": 1, "passed over": {reason: count}}}, "bytes": …}
  std::string statistics() const;

 private:
  std::shared_ptr<void> state_;
};

}  // namespace strobe::inline v1
