// FP64 references of rotary position embedding.
#pragma once

#include "op/operator.h"
#include "strobe/rope.h"

namespace strobe::reference {

void apply_rope(const RopeArgs& args, op::Expected& expected);
void apply_rope_pos_ids(const RopePosIdsArgs& args, op::Expected& expected);
void apply_rope_with_cos_sin_cache(const RopeCosSinCacheArgs& args, op::Expected& expected);

}  // namespace strobe::reference
