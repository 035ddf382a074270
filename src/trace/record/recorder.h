// The state of a WorkloadRecorder.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "strobe/record.h"
#include "trace/apply/signature.h"
#include "trace/data_set.h"

namespace strobe::trace {

class Recorder {
 public:
  explicit Recorder(const RecordOptions& options);

  bool record(std::string_view definition, std::span<const StrobeValue> arguments, Stream stream);
  Json statistics() const;

 private:
  struct Known {
    const Definition* definition = nullptr;
    Signature signature;
    RecordRule rule;
    std::map<std::vector<std::int64_t>, int> kept;  // workloads of equal sizes, in the rule's sense
    std::int64_t recorded = 0;
    std::map<std::string, std::int64_t> passed_over;  // by reason
  };
  Known* find(std::string_view name);
  // Why the call is not recorded; empty when it was.
  std::string try_record(Known& known, std::span<const StrobeValue> arguments, Stream stream);
  void write(Known& known, std::span<const StrobeValue> arguments, const CallKey& key, Stream stream);
  std::vector<std::string> stored_inputs(const Known& known, std::span<const StrobeValue> arguments) const;

  RecordOptions options_;
  DataSet set_;
  mutable std::mutex mutex_;
  std::map<std::string, Known, std::less<>> known_;
  std::map<std::string, std::int64_t> unknown_;  // calls of definitions that cannot be recorded, by reason
  std::int64_t workloads_ = 0, bytes_ = 0;
  bool ended_ = false;  // the disk has refused
};

}  // namespace strobe::trace
