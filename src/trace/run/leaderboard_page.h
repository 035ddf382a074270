// The page of `strobe trace report`: for each definition and each machine that has traces, its solutions with
// their times, speed-ups over the reference and what they move, best first.
#pragma once

#include <string>

#include "trace/data_set.h"

namespace strobe::trace {

struct LeaderboardOptions {
  // What the machine can move, in GB/s: drawn as the roof of every chart. 0: it is not known.
  double bandwidth = 0;
};

// Of several traces of a solution, a workload and a machine the fastest that passed counts, or the last that
// failed. What a call moves are the bytes of the definition's tensors, each counted once.
std::string leaderboard_page(const DataSet& set, const LeaderboardOptions& options);

}  // namespace strobe::trace
