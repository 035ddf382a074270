// FP64 references of the paged cache operators.
#pragma once

#include "op/operator.h"
#include "strobe/page.h"

namespace strobe::reference {

void append_paged_kv_cache(const AppendPagedKvCacheArgs& args, op::Expected& expected);
void append_paged_mla_kv_cache(const AppendPagedMlaKvCacheArgs& args, op::Expected& expected);
void get_batch_indices_positions(const BatchIndicesPositionsArgs& args, op::Expected& expected);
void get_seq_lens(const SeqLensArgs& args, op::Expected& expected);

}  // namespace strobe::reference
