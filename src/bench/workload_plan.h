// What a workload run is asked to do: the requests, the model's attention layer, the server.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/workload/scheduler.h"
#include "op/routine.h"
#include "strobe/dtype.h"
#include "strobe/kv_layout.h"

namespace strobe::bench {

// The attention layer of a model.
struct AttentionLayer {
  std::string_view model;
  int num_qo_heads;
  int num_kv_heads;
  int head_dim;
};

struct WorkloadPlan {
  std::string name;  // "azure-conv", or the requests' file
  bool from_file = false;
  std::vector<Request> requests;
  op::Case values;    // of workload_parameters()
  std::string flags;  // as written
  AttentionLayer layer;
  SchedulerOptions scheduler;
  int steps = 0;       // that are run and timed
  int skip_steps = 0;  // before them, scheduled only
  Dtype dtype = Dtype::kBf16;
  Dtype kv_dtype = Dtype::kBf16;
  KvLayout kv_layout = KvLayout::kHnd;
  bool deterministic = false;
  std::uint64_t random_seed = 0;
};

// The flags of a workload, with their defaults.
const std::vector<op::Parameter>& workload_parameters();

// Reads "--flag value" words. The requests are those of the built-in workload `name` or, when `requests_file`
// is not empty, of that file. Throws Error(kInvalidArgument) for an unknown workload, model, flag or value,
// Error(kIo) for an unreadable or malformed file.
WorkloadPlan plan_workload(const std::string& name, const std::string& requests_file,
                           std::span<const std::string> words, std::uint64_t random_seed);

}  // namespace strobe::bench
