#include "plan/work_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "op/random.h"
#include "plan/device_work_list.h"

namespace strobe::plan {
namespace {

struct Batch {
  std::vector<std::int32_t> qo_indptr = {0};
  std::vector<std::int32_t> kv_len;
  void add(std::int32_t qo_len, std::int32_t kv) {
    qo_indptr.push_back(qo_indptr.back() + qo_len);
    kv_len.push_back(kv);
  }
};

Batch random_batch(op::Random& random, int requests) {
  Batch batch;
  for (int r = 0; r < requests; ++r) {
    const auto kv =
        static_cast<std::int32_t>(random.integer(0, 1) ? random.integer(0, 300) : random.integer(0, 20000));
    const auto qo = static_cast<std::int32_t>(random.integer(0, 2) ? 1 : random.integer(0, 700));
    batch.add(qo, kv);
  }
  return batch;
}

WorkList work_list(const Batch& batch, const WorkListOptions& options) {
  WorkList list;
  make_work_list(batch.qo_indptr, batch.kv_len, options, list);
  return list;
}

// Every (request, query token) is covered by disjoint KV ranges that join to what the token's tile attends
// to.
void expect_covers(const Batch& batch, const WorkListOptions& options, const WorkList& list) {
  std::map<std::pair<std::int32_t, std::int32_t>, std::vector<WorkItem>> by_tile;
  for (const WorkItem& item : list.items) by_tile[{item.request, item.q_begin}].push_back(item);
  for (std::int32_t request = 0; request < static_cast<std::int32_t>(batch.kv_len.size()); ++request) {
    const auto index = static_cast<std::size_t>(request);
    const std::int32_t qo_len = batch.qo_indptr[index + 1] - batch.qo_indptr[index],
                       kv_len = batch.kv_len[index];
    for (std::int32_t q = 0; q < qo_len;) {
      auto found = by_tile.find({request, q});
      ASSERT_NE(found, by_tile.end()) << "request " << request << " token " << q;
      std::vector<WorkItem>& items = found->second;
      std::sort(items.begin(), items.end(),
                [](const WorkItem& a, const WorkItem& b) { return a.kv_begin < b.kv_begin; });
      for (std::size_t i = 0; i < items.size(); ++i) {
        EXPECT_EQ(items[i].q_end, items[0].q_end);
        EXPECT_LE(items[i].kv_begin, items[i].kv_end);
        EXPECT_EQ(items[i].slot >= 0, items.size() > 1);
        if (i > 0) {
          EXPECT_EQ(items[i].kv_begin, items[i - 1].kv_end);
        }
      }
      for (std::int32_t token = q; token < items[0].q_end; ++token) {
        const std::int32_t position = kv_len - qo_len + token;
        const std::int32_t end = options.causal ? std::clamp(position + 1, 0, kv_len) : kv_len;
        const std::int32_t begin =
            options.window_left >= 0 ? std::clamp(position - options.window_left, 0, end) : 0;
        if (begin >= end) continue;
        EXPECT_LE(items.front().kv_begin, begin);
        EXPECT_GE(items.back().kv_end, end);
      }
      q = items[0].q_end;
      by_tile.erase(found);
    }
  }
  EXPECT_TRUE(by_tile.empty()) << "items for tokens that do not exist";
}

void expect_merges(const WorkList& list) {
  std::vector<int> slots(static_cast<std::size_t>(list.slots), 0);
  for (std::size_t g = 0; g < list.merges.size(); ++g)
    for (std::int32_t part = 0; part < list.merges[g].part_count; ++part) {
      const WorkItem& item = list.parts[static_cast<std::size_t>(list.merges[g].first_part + part)];
      EXPECT_EQ(item.group, static_cast<std::int32_t>(g));
      ++slots[static_cast<std::size_t>(item.slot)];
    }
  EXPECT_TRUE(std::all_of(slots.begin(), slots.end(), [](int uses) { return uses == 1; }));
}

// Every item has each KV head in exactly one call.
void expect_calls(const WorkListOptions& options, const WorkList& list) {
  std::map<std::int32_t, std::int32_t> heads_done;
  for (const WorkCall& call : list.calls) {
    EXPECT_EQ(call.kv_head_begin, heads_done[call.item]);
    EXPECT_LT(call.kv_head_begin, call.kv_head_end);
    heads_done[call.item] = call.kv_head_end;
  }
  EXPECT_EQ(heads_done.size(), list.items.size());
  for (auto [item, heads] : heads_done) EXPECT_EQ(heads, options.num_kv_heads) << "item " << item;
}

TEST(WorkList, CoversEveryQueryTokenOnRandomBatches) {
  op::Random random(1);
  for (int round = 0; round < 200; ++round) {
    const Batch batch = random_batch(random, static_cast<int>(random.integer(0, 20)));
    const WorkListOptions options{.num_kv_heads = static_cast<std::int32_t>(random.integer(1, 8)),
                                  .group_size = static_cast<std::int32_t>(random.integer(1, 16)),
                                  .workers = static_cast<std::int32_t>(random.integer(1, 64)),
                                  .causal = random.integer(0, 1) == 1,
                                  .window_left = static_cast<std::int32_t>(random.integer(-1, 500)),
                                  .deterministic = random.integer(0, 1) == 1};
    const WorkList list = work_list(batch, options);
    expect_covers(batch, options, list);
    expect_merges(list);
    expect_calls(options, list);
  }
}

TEST(WorkList, DecodeTakesAllHeadsTogetherUnlessWorkersWouldBeIdle) {
  const auto heads_of_a_call = [](int requests, std::int32_t qo_len, int workers) {
    Batch batch;
    for (int i = 0; i < requests; ++i) batch.add(qo_len, 1024);
    const WorkList list = work_list(batch, {.num_kv_heads = 8, .group_size = 4, .workers = workers});
    return list.calls[0].kv_head_end - list.calls[0].kv_head_begin;
  };
  EXPECT_EQ(heads_of_a_call(16, 1, 2), 8);
  EXPECT_EQ(heads_of_a_call(1, 1, 2), 4);
  EXPECT_EQ(heads_of_a_call(1, 1, 64), 1);
  EXPECT_EQ(heads_of_a_call(16, 100, 2), 1);
}

TEST(WorkList, PutsTheLongestFirst) {
  Batch batch;
  for (std::int32_t kv : {100, 5000, 20, 3000}) batch.add(1, kv);
  const WorkList list = work_list(batch, {.num_kv_heads = 8, .group_size = 4, .workers = 1});
  std::vector<std::int32_t> order;
  for (const WorkItem& item : list.items) order.push_back(item.kv_end);
  EXPECT_EQ(order, (std::vector<std::int32_t>{5000, 3000, 100, 20}));
}

TEST(WorkList, SplitsALongRequestSoThatManyWorkersFinishTogether) {
  Batch batch;
  batch.add(1, 131072);
  const WorkList list = work_list(batch, {.num_kv_heads = 8, .group_size = 4, .workers = 64});
  EXPECT_GE(list.calls.size(), 64u);
  std::int32_t longest = 0;
  for (const WorkCall& call : list.calls) {
    const WorkItem& item = list.items[static_cast<std::size_t>(call.item)];
    longest = std::max(longest, (item.kv_end - item.kv_begin) * (call.kv_head_end - call.kv_head_begin));
  }
  EXPECT_LE(longest, 131072);
}

TEST(WorkList, DoesNotSplitForASingleWorker) {
  Batch batch;
  batch.add(1, 131072);
  EXPECT_EQ(work_list(batch, {.num_kv_heads = 1, .group_size = 4, .workers = 1}).slots, 0);
}

TEST(WorkList, DeterministicSplitsDependOnTheRequestAlone) {
  const auto parts_of_first = [](int neighbours, int workers) {
    Batch batch;
    batch.add(1, 30000);
    for (int i = 0; i < neighbours; ++i) batch.add(1, 10 + 977 * i);
    WorkList list =
        work_list(batch, {.num_kv_heads = 8, .group_size = 4, .workers = workers, .deterministic = true});
    std::vector<std::pair<std::int32_t, std::int32_t>> ranges;
    for (const WorkItem& part : list.parts)
      if (part.request == 0) ranges.emplace_back(part.kv_begin, part.kv_end);
    return ranges;
  };
  const auto alone = parts_of_first(0, 1);
  EXPECT_GT(alone.size(), 1u);
  EXPECT_EQ(alone, parts_of_first(40, 1));
  EXPECT_EQ(alone, parts_of_first(7, 64));
}

TEST(WorkList, EmptyBatchAndEmptyRequests) {
  EXPECT_TRUE(work_list(Batch{}, {}).items.empty());
  Batch batch;
  batch.add(0, 100);
  EXPECT_TRUE(work_list(batch, {}).items.empty());
  batch.add(3, 0);  // zero-length KV still has rows to write
  const WorkList list = work_list(batch, {.causal = true});
  ASSERT_EQ(list.items.size(), 1u);
  EXPECT_EQ(list.items[0].kv_end, 0);
}

WorkListOptions gpu_options(bool deterministic) {
  return {.num_kv_heads = 4,
          .group_size = 3,
          .workers = 264,
          .causal = true,
          .deterministic = deterministic,
          .item_rows = 128,
          .heads_together = 1,
          .items_per_worker = 1,
          .many_rows_shares = 2};
}

std::vector<AttentionRequest> requests_of(const Batch& batch) {
  std::vector<AttentionRequest> requests;
  for (std::size_t r = 0; r < batch.kv_len.size(); ++r)
    requests.push_back({.request = static_cast<std::int32_t>(r),
                        .q_row = batch.qo_indptr[r],
                        .qo_len = batch.qo_indptr[r + 1] - batch.qo_indptr[r],
                        .kv_base = 1000 * static_cast<std::int32_t>(r),
                        .kv_len = batch.kv_len[r]});
  return requests;
}

// A grid sized by the capacity has a block for every item of every batch within it.
TEST(DeviceWorkList, StaysWithinItsCapacity) {
  op::Random random(5);
  DeviceListMaker maker;
  DeviceWorkList list;
  for (int round = 0; round < 60; ++round) {
    const Batch batch = random_batch(random, 1 + round % 20);
    BatchCapacity capacity{
        .requests = static_cast<std::int64_t>(batch.kv_len.size()),
        .query_tokens = batch.qo_indptr.back(),
        .qo_len = 0,
        .kv_tokens = std::accumulate(batch.kv_len.begin(), batch.kv_len.end(), std::int64_t{0})};
    const std::vector<AttentionRequest> requests = requests_of(batch);
    for (const AttentionRequest& request : requests)
      capacity.qo_len = std::max<std::int64_t>(capacity.qo_len, request.qo_len);
    for (bool deterministic : {false, true}) {
      const WorkListOptions options = gpu_options(deterministic);
      maker.make(requests, options, list);
      const ListCapacity most = list_capacity(capacity, options);
      EXPECT_LE(static_cast<std::int64_t>(list.items.size()), most.items);
      EXPECT_LE(static_cast<std::int64_t>(list.merges.size()), most.merges);
      EXPECT_LE(list.slots, most.slots);
    }
  }
}

// Each KV head's partials have slots of their own, and each merge names those of its rows in order.
TEST(DeviceWorkList, MergesNameTheSlotsOfTheirItems) {
  Batch batch;
  batch.add(1, 9000);
  batch.add(40, 5000);
  DeviceListMaker maker;
  DeviceWorkList list;
  const WorkListOptions options = gpu_options(true);
  maker.make(requests_of(batch), options, list);
  ASSERT_FALSE(list.merges.empty());
  std::vector<int> used(static_cast<std::size_t>(list.slots));
  for (const kernel::AttentionMerge& merge : list.merges) {
    std::int32_t end = -1;
    for (std::int32_t part = 0; part < merge.parts; ++part) {
      const std::int32_t slot = merge.first_slot + part * merge.slot_stride;
      for (std::int32_t head = 0; head < options.num_kv_heads; ++head)
        ++used[static_cast<std::size_t>(slot + head)];
      const auto item = std::find_if(list.items.begin(), list.items.end(),
                                     [&](const kernel::AttentionItem& it) { return it.slot == slot; });
      ASSERT_NE(item, list.items.end());
      EXPECT_EQ(item->q_row, merge.q_row);
      EXPECT_EQ(item->q_tokens, merge.q_tokens);
      EXPECT_LE(item->q_tokens * options.group_size, list.partial_rows);
      if (part > 0) EXPECT_EQ(item->kv_begin, end);
      end = item->kv_end;
    }
  }
  EXPECT_TRUE(std::all_of(used.begin(), used.end(), [](int uses) { return uses == 1; }));
}

}  // namespace
}  // namespace strobe::plan
