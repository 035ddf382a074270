// --device of several commands.
#pragma once

#include <string>

#include "strobe/device.h"

namespace strobe::cli {

// "cpu", "cuda" (the first GPU) or "cuda:1"; anything else is Error(kInvalidArgument).
Device parse_device(const std::string& text);

}  // namespace strobe::cli
