// The FP64 reference of attention, in every form.
#pragma once

#include "op/operator.h"
#include "ops/attention_args.h"

namespace strobe::reference {

void attention(const SinglePrefillArgs& args, op::Expected& expected);
void attention(const SingleDecodeArgs& args, op::Expected& expected);
void attention(const ops::BatchAttentionArgs& args, op::Expected& expected);

// Where bf16 dot products may be used, probabilities are rounded to bf16; all else is f32.
op::Accuracy attention_accuracy(Dtype q, Dtype kv, std::int64_t head_dim_qk, bool lse);

}  // namespace strobe::reference
