// What this build of the library holds.
#pragma once

#include <string>
#include <vector>

#include "strobe/export.h"

namespace strobe::inline v1 {

// Names of every operator, in the order of declaration: "rmsnorm", …
STROBE_API std::vector<std::string> operator_names();

// Names of every benchmark routine, as `strobe bench --list` shows them; an operator has one or more.
STROBE_API std::vector<std::string> routine_names();

}  // namespace strobe::inline v1
