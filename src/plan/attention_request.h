// A request of an attention batch, as planners for a GPU take it.
#pragma once

#include "attention/attention_request.h"

namespace strobe::plan {

using kernel::AttentionRequest;

}  // namespace strobe::plan
