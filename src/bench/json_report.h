// The result file.
#pragma once

#include <nlohmann/json.hpp>

#include "bench/machine.h"
#include "bench/run_info.h"
#include "bench/session.h"

namespace strobe::bench {

using Json = nlohmann::ordered_json;

// {"version", "commit", "command", "date", "machine", "limits", "rows"} and, of a workload run, "workload";
// docs/bench.md describes every field.
Json json_of(const RunInfo& run, const Machine& machine, const SessionResult& result);

Json json_of(const Machine& machine);
Json json_of(const SessionLimits& limits);
Json json_of(const LimitRates& rates);
Json json_of(const Row& row);

// Values of a case: numbers and booleans as such, everything else as text.
Json json_of(const op::Case& values);
// The fields refcheck, max_abs_err, max_rel_err and, when it failed, refcheck_message.
Json json_of_check(const std::optional<op::CheckResult>& check);

}  // namespace strobe::bench
