// A batch whose requests share prefixes, flat and in levels.
#pragma once

#include <vector>

#include "strobe/cascade_attention.h"
#include "support/attention_batch.h"

namespace strobe::test {

// Four requests: all share 48 tokens, two pairs share 32 more each, and each has KV of its own. `flat`
// attends to the concatenation; the levels name the same pages.
class CascadeBatch {
 public:
  static constexpr int kPage = 16, kShared = 48, kPair = 32;

  CascadeBatch() {
    for (std::size_t r = 0; r < 4; ++r)
      for (int page = 0; page < (kShared + kPair) / kPage; ++page) {
        const std::size_t donor = page < kShared / kPage ? 0 : r / 2 * 2;
        flat.kv_indices[static_cast<std::size_t>(flat.kv_indptr[r] + page)] =
            flat.kv_indices[static_cast<std::size_t>(flat.kv_indptr[donor] + page)];
      }
    const auto first_page = [&](std::size_t r) { return flat.kv_indices.begin() + flat.kv_indptr[r]; };
    all_indices.assign(first_page(0), first_page(0) + kShared / kPage);
    for (std::size_t pair = 0; pair < 2; ++pair)
      pair_indices.insert(pair_indices.end(), first_page(2 * pair) + kShared / kPage,
                          first_page(2 * pair) + (kShared + kPair) / kPage);
    for (std::size_t r = 0; r < 4; ++r) {
      own_indices.insert(own_indices.end(), first_page(r) + (kShared + kPair) / kPage,
                         flat.kv_indices.begin() + flat.kv_indptr[r + 1]);
      own_indptr.push_back(static_cast<std::int32_t>(own_indices.size()));
    }
    const std::int32_t rows = flat.qo_indptr.back();
    all_qo = {0, rows};
    pair_qo = {0, flat.qo_indptr[2], rows};
  }

  std::vector<CascadeLevel> levels() {
    return {{TensorView::of(all_qo), TensorView::of(all_indptr), TensorView::of(all_indices),
             TensorView::of(all_last)},
            {TensorView::of(pair_qo), TensorView::of(pair_indptr), TensorView::of(pair_indices),
             TensorView::of(pair_last)},
            {TensorView::of(flat.qo_indptr), TensorView::of(own_indptr), TensorView::of(own_indices),
             TensorView::of(flat.last_page_len)}};
  }

  AttentionBatch flat{{{.qo_len = 1, .kv_len = 81},
                       {.qo_len = 3, .kv_len = 100},
                       {.qo_len = 20, .kv_len = 110},
                       {.qo_len = 1, .kv_len = 96}}};
  std::vector<std::int32_t> all_qo, all_indptr = {0, kShared / kPage}, all_indices, all_last = {kPage};
  std::vector<std::int32_t> pair_qo, pair_indptr = {0, kPair / kPage, 2 * kPair / kPage}, pair_indices,
                                     pair_last = {kPage, kPage};
  std::vector<std::int32_t> own_indptr = {0}, own_indices;
};

}  // namespace strobe::test
