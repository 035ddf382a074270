// What a norm does with a row.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

enum class NormForm {
  kRms,     // root-mean-square norm
  kAddRms,  // adds the residual first, and stores the sum there
  kLayer,   // layer norm
};

}  // namespace strobe::kernel
