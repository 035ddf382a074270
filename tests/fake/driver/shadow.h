// Who has touched a byte of memory, so that accesses that nothing orders are found.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "order.h"

namespace emulated {

// An access: the cluster (a block, where there are none), by the number of its run (every one that runs gets
// a new one); the thread, counted through the cluster; the number of the last barrier before it; how many
// barriers its warp had passed; and the warp's clock (order.h).
struct Access {
  std::uint32_t run;
  std::uint16_t thread, epoch, warp_epoch, clock;
  friend auto operator<=>(const Access&, const Access&) = default;
};

inline constexpr std::uint16_t kWarpThreads = 32;

// Of an epoch: those of several clusters.
inline constexpr std::uint16_t kManyClusters = 0xffff;
// In the place of a thread: several threads of a warp, plus its number in the cluster; the copy engine;
// several blocks of a cluster; atomic operations of a block's threads, which do not race with each other;
// several threads of a block. The last two plus the block's rank.
inline constexpr std::uint16_t kManyOfWarp = 0x8000, kCopyEngine = 0xfc00;
inline constexpr std::uint16_t kManyBlocks = 0xfd00, kAtomics = 0xfe00, kManyThreads = 0xff00;

// What a thread of another block had released when one of this block acquired it.
struct Acquired {
  Access released, by;
};

// An access that happens: what is remembered of it, and its thread's own where that is one of several; its
// block's rank and threads, when the cluster last met, what its block has acquired of others, and what its
// warp knows by other barriers than the block's (null: there are none) of others, as of those who read the
// bytes (null: that is not known).
struct Now {
  Access access, self;
  unsigned block, block_threads;
  std::uint16_t cluster_epoch;
  const std::vector<Acquired>* acquired;
  const Order* order;
  const std::uint16_t* readers;
};

// Of a byte. All zero: nobody has touched it, as runs count from 1.
struct Cell {
  Access write;
  // The last read; `thread` stands for several after reads of several since a barrier.
  Access read;
};

// The number in the cluster of the warp that the access is of; -1: of several.
inline int warp_of(std::uint16_t thread) {
  if (thread < kManyOfWarp) return thread / kWarpThreads;
  return thread < kCopyEngine ? thread - kManyOfWarp : -1;
}

// Whether a barrier of a block orders the two, or only one of the cluster does.
inline bool of_one_block(const Access& before, const Now& now) {
  if (before.thread == kCopyEngine) return true;  // which serves clusters of one block
  if (before.thread >= kAtomics) return (before.thread & 0xffu) == now.block;
  const int warp = warp_of(before.thread);
  return warp >= 0 && static_cast<unsigned>(warp) * kWarpThreads / now.block_threads == now.block;
}

// Whether neither a barrier of their block nor one of their warp lies between the two, which are of one
// block.
inline bool unordered_in_block(const Access& before, const Access& access) {
  if (before.epoch != access.epoch || before.thread == access.thread) return false;
  const int warp = warp_of(before.thread);
  return warp < 0 || warp != warp_of(access.thread) || before.warp_epoch == access.warp_epoch;
}

// Whether what has happened before is ordered before this: by its thread, its warp's barriers or its block's.
inline bool precedes(const Access& before, const Access& access) {
  if (before.run != access.run || before.epoch > access.epoch) return false;
  if (before.epoch < access.epoch || before.thread == access.thread) return true;
  const int warp = warp_of(before.thread);
  return warp >= 0 && warp == warp_of(access.thread) && before.warp_epoch < access.warp_epoch;
}

// The same where what lies between is a release of one block that another has acquired.
inline bool ordered_by_release(const Access& before, const Now& now) {
  for (const Acquired& acquired : *now.acquired)
    if (precedes(before, acquired.released) && precedes(acquired.by, now.self)) return true;
  return false;
}

// Whether an mbarrier or a named barrier has told the warp of it.
inline bool is_known(const Access& before, const Now& now) {
  if (now.order == nullptr) return false;
  const std::size_t warp = now.access.thread / kWarpThreads;
  if (before.thread == kCopyEngine) return now.order->knows(warp, now.order->engine(), before.clock);
  if (const int by = warp_of(before.thread); by >= 0)
    return now.order->knows(warp, static_cast<std::size_t>(by), before.clock);
  return before.thread >= kManyThreads && now.readers != nullptr && now.order->knows_all(warp, now.readers);
}

inline bool is_atomic(const Access& access) {
  return access.thread >= kAtomics && access.thread < kManyThreads;
}

// Who `now` races with, if anyone; then the cell remembers it. `first_run` is that of the running grid: grids
// follow each other in order.
inline const Access* race(Cell& cell, const Now& now, std::uint32_t first_run, bool write) {
  const Access& access = now.access;
  const auto unordered = [&](const Access& before) {
    if (before.run < first_run || (is_atomic(before) && is_atomic(access))) return false;
    if (before.run != access.run || before.epoch == kManyClusters) return !ordered_by_release(before, now);
    if (!of_one_block(before, now)) return before.epoch >= now.cluster_epoch;
    return unordered_in_block(before, access) && !is_known(before, now);
  };
  if (unordered(cell.write)) return &cell.write;
  if (write) {
    if (unordered(cell.read)) return &cell.read;
    cell.write = access;
    return nullptr;
  }
  Access& read = cell.read;
  if (!unordered(read))
    read = access;
  else if (read.run != access.run || read.epoch == kManyClusters)
    read = {access.run, kManyThreads, kManyClusters, 0, 0};
  else if (!of_one_block(read, now))
    read = {access.run, kManyBlocks, read.epoch > access.epoch ? read.epoch : access.epoch, 0, 0};
  else if (const int warp = warp_of(access.thread); warp >= 0 && warp == warp_of(read.thread))
    read.thread = static_cast<std::uint16_t>(kManyOfWarp + warp), read.clock = access.clock;
  else
    read.thread = static_cast<std::uint16_t>(kManyThreads + now.block);
  return nullptr;
}

}  // namespace emulated
