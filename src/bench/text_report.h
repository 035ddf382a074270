// What `strobe bench` prints.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "bench/machine.h"
#include "bench/session.h"

namespace strobe::bench {

std::string machine_text(const Machine& machine);
std::string gpu_text(const GpuFacts& gpu);
std::string limits_text(std::string_view label, std::span<const Limits> levels);

std::string row_header();
// One line; below it, as the row's options ask, deviation, plan time, errors and the repro command, and the
// reason when the check failed.
std::string row_text(const Row& row);

}  // namespace strobe::bench
