// Who has touched a byte of memory, so that accesses that nothing orders are found.
#pragma once

#include <cstdint>

namespace emulated {

// An access: the block, by the number of its run (every block that runs gets a new one); the thread; and how
// many barriers the block, and then its warp, had passed.
struct Access {
  std::uint32_t run;
  std::uint16_t thread, epoch, warp_epoch;
};

inline constexpr std::uint16_t kMany = 0xffff;
// Several threads of one warp: this and the number of the warp.
inline constexpr std::uint16_t kManyOfWarp = 0x8000;
inline constexpr std::uint16_t kWarpThreads = 32;

// Of a byte. All zero: nobody has touched it, as runs count from 1.
struct Cell {
  Access write;
  // The last read; `thread` says so after those of several threads since a barrier, `epoch` is kMany after
  // those of several blocks.
  Access read;
};

inline std::uint16_t warp_of(std::uint16_t thread) {
  return thread >= kManyOfWarp ? thread - kManyOfWarp : thread / kWarpThreads;
}

// Whether `before` and `now`, of one block, have no barrier between them, of the block or of their warp.
inline bool unordered_in_block(const Access& before, const Access& now) {
  if (before.epoch != now.epoch || before.thread == now.thread) return false;
  return before.thread == kMany || warp_of(before.thread) != warp_of(now.thread) ||
         before.warp_epoch == now.warp_epoch;
}

// A read after the last one: what a later write has to be ordered after.
inline Access joined(const Access& read, const Access& now, std::uint32_t first_run) {
  if (read.run < first_run) return now;
  if (read.run != now.run || read.epoch == kMany) return {now.run, kMany, kMany, kMany};
  if (read.epoch != now.epoch || read.thread == now.thread) return now;
  Access both = now;
  if (read.thread == kMany || warp_of(read.thread) != warp_of(now.thread))
    both.thread = kMany;
  else if (read.warp_epoch == now.warp_epoch)
    both.thread = static_cast<std::uint16_t>(kManyOfWarp + warp_of(now.thread));
  return both;
}

// Who `now` races with, if anyone; then the cell remembers it. `first_run` is that of the running grid: grids
// follow each other in order.
inline const Access* race(Cell& cell, const Access& now, std::uint32_t first_run, bool write) {
  const auto unordered = [&](const Access& before) {
    if (before.run < first_run) return false;
    return before.run != now.run || before.epoch == kMany || unordered_in_block(before, now);
  };
  if (unordered(cell.write)) return &cell.write;
  if (write) {
    if (unordered(cell.read)) return &cell.read;
    cell.write = now;
    return nullptr;
  }
  cell.read = joined(cell.read, now, first_run);
  return nullptr;
}

}  // namespace emulated
