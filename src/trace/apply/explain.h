// What apply() would do with a data set, and what it did, in words.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "trace/apply/table.h"

namespace strobe::trace {

struct ExplainOptions {
  std::vector<std::string> definitions;      // empty: all
  std::vector<std::string> hardware;         // whose traces count
  std::map<std::string, std::int64_t> axes;  // what a call of these sizes would run; empty: no such question
};

// For each definition: how many of its traces count on each hardware, why the others do not, which solution
// runs at which sizes and by how much it leads, and the hardware that has traces but is not asked for.
// Throws Error(kInvalidArgument) for a definition that is not there, and for axes that are not those of any
// definition asked for.
Json explain(const DataSet& set, const ApplyTable& table, const ExplainOptions& options);
std::string explanation_text(const Json& explanation);

// ApplyRuntime::statistics in words. Throws Error(kIo) where it is none.
std::string statistics_text(const Json& statistics);

}  // namespace strobe::trace
