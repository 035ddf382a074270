// Decode work lists: every KV token of every row is in exactly one item, blocks have equal shares, and what
// is merged are a row's pieces in their order.
#include "plan/decode_work_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace strobe::plan {
namespace {

using kernel::AttentionItem;

std::vector<AttentionRequest> requests_of(const std::vector<int>& kv_lens, int qo_len = 1) {
  std::vector<AttentionRequest> requests;
  for (const int length : kv_lens) {
    const auto r = static_cast<std::int32_t>(requests.size());
    requests.push_back(
        {.request = r, .q_row = r * qo_len, .qo_len = qo_len, .kv_base = r * 1000, .kv_len = length});
  }
  return requests;
}

// The items of a block, in their order.
std::vector<AttentionItem> items_of(const DeviceWorkList& list, std::size_t block) {
  std::vector<AttentionItem> items;
  if (list.items[block].kv_head >= 0) items.push_back(list.items[block]);
  for (std::int32_t i = list.runs[block].begin; i < list.runs[block].end; ++i)
    items.push_back(list.items[static_cast<std::size_t>(i)]);
  return items;
}

struct Piece {
  AttentionItem item;
  std::size_t block;
};

// Pieces of every row (request, first head), by kv_begin.
std::map<std::pair<int, int>, std::vector<Piece>> rows_of(const DeviceWorkList& list) {
  std::map<std::pair<int, int>, std::vector<Piece>> rows;
  for (std::size_t block = 0; block < list.runs.size(); ++block)
    for (const AttentionItem& item : items_of(list, block))
      rows[{item.request, item.kv_head}].push_back({item, block});
  for (auto& [row, pieces] : rows)
    std::sort(pieces.begin(), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.item.kv_begin < b.item.kv_begin; });
  return rows;
}

void expect_covers(const std::vector<int>& kv_lens, const DecodeListOptions& options, int qo_len = 1) {
  const std::vector<AttentionRequest> requests = requests_of(kv_lens, qo_len);
  DeviceWorkList list;
  make_decode_list(requests, options, list);
  ASSERT_EQ(list.runs.size(), static_cast<std::size_t>(options.blocks));
  const auto rows = rows_of(list);
  ASSERT_EQ(rows.size(),
            kv_lens.size() * static_cast<std::size_t>(options.num_kv_heads / options.heads_together));
  std::size_t items = 0, split_rows = 0;
  std::vector<int> slots_used(static_cast<std::size_t>(list.slots));
  for (const auto& [row, pieces] : rows) {
    const AttentionRequest& request = requests[static_cast<std::size_t>(row.first)];
    int first = 0;
    if (options.window_left >= 0)
      first =
          std::max(0, request.kv_len - qo_len - options.window_left) / kDecodeTileTokens * kDecodeTileTokens;
    int covered = first;
    for (const Piece& piece : pieces) {
      const AttentionItem& item = piece.item;
      EXPECT_EQ(item.kv_begin, covered);
      EXPECT_EQ(item.kv_begin % kDecodeTileTokens, 0);
      EXPECT_TRUE(item.kv_end > item.kv_begin || request.kv_len == 0);
      EXPECT_EQ(item.kv_base, request.kv_base);
      EXPECT_EQ(item.q_row, request.q_row);
      EXPECT_EQ(item.q_tokens, qo_len);
      EXPECT_EQ(item.position, request.kv_len - qo_len);
      EXPECT_EQ(item.slot >= 0, pieces.size() > 1);
      for (int head = 0; item.slot >= 0 && head < options.heads_together; ++head)
        ++slots_used[static_cast<std::size_t>(item.slot + head)];
      covered = item.kv_end;
      ++items;
    }
    EXPECT_EQ(covered, request.kv_len);
    split_rows += pieces.size() > 1 ? 1 : 0;
  }
  EXPECT_EQ(items, list.items.size() - static_cast<std::size_t>(std::count_if(
                                           list.items.begin(), list.items.end(),
                                           [](const AttentionItem& item) { return item.kv_head < 0; })));
  EXPECT_TRUE(std::all_of(slots_used.begin(), slots_used.end(), [](int uses) { return uses == 1; }));
  EXPECT_EQ(list.merges.size(), split_rows * static_cast<std::size_t>(options.heads_together));
  for (const kernel::AttentionMerge& merge : list.merges) {
    const int first_head = merge.kv_head / options.heads_together * options.heads_together;
    const auto& pieces = rows.at({merge.q_row / qo_len, first_head});
    ASSERT_EQ(merge.parts, static_cast<int>(pieces.size()));
    for (int part = 0; part < merge.parts; ++part)
      EXPECT_EQ(merge.first_slot + part * merge.slot_stride,
                pieces[static_cast<std::size_t>(part)].item.slot + merge.kv_head - first_head);
    EXPECT_EQ(list.partial_rows, qo_len * options.group_size);
  }
}

std::int64_t tokens_of(const DeviceWorkList& list, std::size_t block) {
  std::int64_t tokens = 0;
  for (const AttentionItem& item : items_of(list, block)) tokens += item.kv_end - item.kv_begin;
  return tokens;
}

// The busiest block's tokens over the fair share.
double imbalance(const std::vector<int>& kv_lens, const DecodeListOptions& options) {
  DeviceWorkList list;
  make_decode_list(requests_of(kv_lens), options, list);
  std::int64_t most = 0, total = 0;
  for (std::size_t block = 0; block < list.runs.size(); ++block) {
    most = std::max(most, tokens_of(list, block));
    total += tokens_of(list, block);
  }
  return static_cast<double>(most) * options.blocks / static_cast<double>(total);
}

std::vector<std::vector<int>> batches() {
  std::mt19937 random(1);
  std::vector<int> skewed(63, 1024), lengths, tiny(500, 3);
  skewed.insert(skewed.begin(), 65536);
  for (int i = 0; i < 64; ++i) lengths.push_back(static_cast<int>(random() % 8192));
  return {{0},
          {1},
          {8192},
          {131072},
          std::vector<int>(128, 4096),
          std::vector<int>(16, 4096),
          skewed,
          lengths,
          tiny,
          {0, 0, 70000, 0, 1},
          {31, 32, 33, 4095, 4097}};
}

TEST(DecodeWorkList, CoversEveryRowOnce) {
  for (const std::vector<int>& batch : batches())
    for (const int heads : {1, 2, 8})
      for (const int blocks : {1, 7, 132})
        for (const bool deterministic : {false, true})
          for (const int window : {-1, 0, 1000}) {
            SCOPED_TRACE("batch of " + std::to_string(batch.size()) + " from " + std::to_string(batch[0]) +
                         ", " + std::to_string(heads) + " heads, " + std::to_string(blocks) +
                         " blocks, window " + std::to_string(window) +
                         (deterministic ? ", deterministic" : ""));
            expect_covers(batch, {.num_kv_heads = 8,
                                  .group_size = 4,
                                  .heads_together = heads,
                                  .blocks = blocks,
                                  .window_left = window,
                                  .deterministic = deterministic});
          }
  expect_covers({100, 3000, 4}, {.num_kv_heads = 3, .group_size = 2, .blocks = 20}, 3);
}

TEST(DecodeWorkList, SharesAreFair) {
  const auto options = [](int heads) {
    return DecodeListOptions{.num_kv_heads = 8, .group_size = 4, .heads_together = heads, .blocks = 132};
  };
  const std::vector<std::vector<int>> all = batches();
  EXPECT_LT(imbalance(std::vector<int>(128, 4096), options(8)), 1.05);
  EXPECT_LT(imbalance(std::vector<int>(16, 4096), options(1)), 1.05);
  EXPECT_LT(imbalance({8192}, options(1)), 1.05);
  EXPECT_LT(imbalance({131072}, options(1)), 1.05);
  EXPECT_LT(imbalance(all[6], options(2)), 1.10) << "skewed: short rows stay whole";
  EXPECT_LT(imbalance(all[7], options(2)), 1.10) << "random";
  DecodeListOptions deterministic = options(2);
  deterministic.deterministic = true;
  EXPECT_LT(imbalance(all[6], deterministic), 1.10) << "skewed, deterministic";
}

// Blocks share the memory: that some end a little later costs less than the merges of short rows would.
TEST(DecodeWorkList, ShortRowsAreNotCut) {
  DeviceWorkList list;
  make_decode_list(requests_of(batches()[6]), {.num_kv_heads = 8, .heads_together = 2, .blocks = 132}, list);
  EXPECT_EQ(list.merges.size(), 8u);
  for (const kernel::AttentionMerge& merge : list.merges) EXPECT_EQ(merge.q_row, 0) << "the long request";
}

TEST(DecodeWorkList, HeadsTogetherWhereWholeRowsBalance) {
  const auto heads = [](const std::vector<int>& batch, int kv_heads) {
    return choose_heads_together(requests_of(batch), {.num_kv_heads = kv_heads, .blocks = 132});
  };
  EXPECT_EQ(heads(std::vector<int>(128, 4096), 8), 8);
  EXPECT_EQ(heads(std::vector<int>(64, 4096), 8), 4);
  EXPECT_EQ(heads(std::vector<int>(16, 4096), 8), 1);
  EXPECT_EQ(heads({8192}, 8), 1);
  EXPECT_EQ(heads(batches()[6], 8), 2) << "skewed";
  EXPECT_EQ(heads(std::vector<int>(128, 4096), 3), 1);
}

// Where a deterministic list cuts a row follows from its length.
TEST(DecodeWorkList, NeighboursDoNotMoveTheCutsOfADeterministicList) {
  const auto cuts = [](const std::vector<int>& batch, int request, int blocks) {
    DeviceWorkList list;
    make_decode_list(requests_of(batch), {.num_kv_heads = 4, .blocks = blocks, .deterministic = true}, list);
    std::vector<int> ends;
    const auto rows = rows_of(list);
    for (const Piece& piece : rows.at({request, 2})) ends.push_back(piece.item.kv_end);
    return ends;
  };
  const std::vector<int> alone = cuts({50000}, 0, 132);
  EXPECT_GT(alone.size(), 1u);
  EXPECT_EQ(cuts({3, 50000, 700}, 1, 132), alone);
  EXPECT_EQ(cuts({3, 50000, 700}, 1, 16), alone);
}

}  // namespace
}  // namespace strobe::plan
