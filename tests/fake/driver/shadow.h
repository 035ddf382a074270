// Who has touched a byte of memory, so that accesses that nothing orders are found.
#pragma once

#include <cstdint>

namespace emulated {

// An access: the block, by the number of its run (every block that runs gets a new one); the thread; and how
// many barriers the block had passed.
struct Access {
  std::uint32_t run;
  std::uint16_t thread, epoch;
};

inline constexpr std::uint16_t kMany = 0xffff;

// Of a byte. All zero: nobody has touched it, as runs count from 1.
struct Cell {
  Access write;
  // The last read; `thread` is kMany after those of several threads since a barrier, `epoch` is kMany after
  // those of several blocks.
  Access read;
};

// Who `now` races with, if anyone; then the cell remembers it. `first_run` is that of the running grid: grids
// follow each other in order.
inline const Access* race(Cell& cell, const Access& now, std::uint32_t first_run, bool write) {
  const auto unordered = [&](const Access& before) {
    if (before.run < first_run) return false;
    return before.run != now.run || before.epoch == kMany ||
           (before.epoch == now.epoch && before.thread != now.thread);
  };
  if (unordered(cell.write)) return &cell.write;
  if (write) {
    if (unordered(cell.read)) return &cell.read;
    cell.write = now;
    return nullptr;
  }
  Access& read = cell.read;
  const bool of_grid = read.run >= first_run;
  if (of_grid && (read.run != now.run || read.epoch == kMany))
    read = {now.run, kMany, kMany};
  else if (of_grid && read.epoch == now.epoch && read.thread != now.thread)
    read.thread = kMany;
  else
    read = now;
  return nullptr;
}

}  // namespace emulated
