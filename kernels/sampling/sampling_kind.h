// What the sampling kernels read and write.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

enum class TokenSource { kProbs, kLogits };
// kSample: a token a row; kRenorm: probabilities of the kept tokens; kMask: kept logits, -Inf elsewhere.
enum class TokenTask { kSample, kRenorm, kMask };

}  // namespace strobe::kernel
