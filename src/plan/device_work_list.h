// A work list in the form in which a GPU takes it.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/attention_params.h"

namespace strobe::plan {

struct DeviceWorkList {
  std::vector<kernel::AttentionItem> items;
  std::vector<kernel::AttentionRun> runs;  // empty: a block for each item
  std::vector<kernel::AttentionMerge> merges;
  std::int32_t slots = 0;         // partial results
  std::int32_t partial_rows = 0;  // of each

  std::int32_t blocks() const { return static_cast<std::int32_t>(runs.empty() ? items.size() : runs.size()); }
  void clear() {
    items.clear();
    runs.clear();
    merges.clear();
    slots = partial_rows = 0;
  }
};

}  // namespace strobe::plan
