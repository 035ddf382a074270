// What `strobe bench` prints.
#pragma once

#include <string>

#include "bench/machine.h"
#include "bench/session.h"

namespace strobe::bench {

std::string machine_text(const Machine& machine);
std::string limits_text(std::string_view label, const Limits& limits);

std::string row_header();
// One line; when verbose, lines with deviation, plan time, errors and the repro command below; when the check
// failed, the reason.
std::string row_text(const Row& row, bool verbose);

}  // namespace strobe::bench
