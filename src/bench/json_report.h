// The result file.
#pragma once

#include <nlohmann/json.hpp>

#include "bench/machine.h"
#include "bench/session.h"

namespace strobe::bench {

using Json = nlohmann::ordered_json;

// {"version", "machine", "limits", "rows"}; docs/bench.md describes every field. Fractions are of the larger
// limits of before and after.
Json json_of(const Machine& machine, const SessionResult& result);

Json json_of(const Machine& machine);
Json json_of(const SessionLimits& limits);
Json json_of(const Row& row, const LimitRates& limits);

}  // namespace strobe::bench
