// The compiler's options for a level, for code that is compiled at run time.
#pragma once

#include "cpu/isa.h"

namespace strobe::cpu {

std::string_view compiler_flags(Isa isa);  // separated by blanks; "" for the portable level

}  // namespace strobe::cpu
