// References of top-k and its transforms: sorted indices.
#pragma once

#include "op/operator.h"
#include "strobe/top_k.h"

namespace strobe::reference {

void top_k(const TopKArgs& args, op::Expected& expected);
void top_k_ragged_transform(const TopKRaggedTransformArgs& args, op::Expected& expected);
void top_k_page_table_transform(const TopKPageTableTransformArgs& args, op::Expected& expected);

}  // namespace strobe::reference
