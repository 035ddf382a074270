// The FP64 reference of attention, in every form.
#pragma once

#include "op/operator.h"
#include "ops/attention_args.h"

namespace strobe::reference {

void attention(const SinglePrefillArgs& args, op::Expected& expected);
void attention(const SingleDecodeArgs& args, op::Expected& expected);
void attention(const ops::BatchAttentionArgs& args, op::Expected& expected);

// Where matrix products of q's dtype may be used, probabilities are rounded to it, which those of f16 are on
// a GPU only; all else is f32, but for sums of e4m3 products: Hopper's tensor cores keep about as many bits
// of a logit as f16 has. `terms` are those of both sums: over head_dim_qk in a logit, and over the KV tokens
// of the longest request.
op::Accuracy attention_accuracy(Dtype q, std::int64_t terms, bool lse, DeviceType device);

}  // namespace strobe::reference
