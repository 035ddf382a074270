// The functions of gated activations.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

enum class ActivationFunction { kSilu, kGelu, kGeluTanh };

}  // namespace strobe::kernel
