// What the speculative kernel verifies.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

// A chain or a tree by random numbers; a tree by the tokens that the target predicts.
enum class Draft { kChain, kTree, kGreedyTree };

}  // namespace strobe::kernel
