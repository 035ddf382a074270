// What barriers of some of a cluster's threads (mbarriers, named barriers) order: a vector clock for every
// warp. A warp's clock goes on when it releases what it has done, by arriving somewhere; what it did at clock
// c is known to whoever has learnt of a later one. Lanes share their warp's knowledge: that one lane forgets
// to wait shows when it comes before the one that does.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace emulated {

class Order {
 public:
  // Of each warp, then of the copy engine: what was done before that clock is known.
  using Clocks = std::vector<std::uint16_t>;

  void reset(std::size_t warps) {
    clock_.assign(warps + 1, 0);
    known_.assign(warps, Clocks(warps + 1, 0));
  }
  std::size_t engine() const { return known_.size(); }
  std::uint16_t clock(std::size_t warp) const { return clock_[warp]; }
  Clocks nothing() const { return Clocks(clock_.size(), 0); }

  // Who learns of `clocks` knows what `warp` has done and known until now.
  void release(std::size_t warp, Clocks& clocks) {
    join(clocks, known_[warp]);
    clocks[warp] = ++clock_[warp];
  }
  // The clock of a copy that the engine makes, of which one knows who learns of `clocks`.
  std::uint16_t release_copy(Clocks& clocks) {
    const std::uint16_t copy = clock_[engine()]++;
    clocks[engine()] = clock_[engine()];
    return copy;
  }
  // Warps [first, first + count) learn of each other.
  void meet(std::size_t first, std::size_t count) {
    Clocks all = nothing();
    for (std::size_t warp = first; warp < first + count; ++warp) release(warp, all);
    for (std::size_t warp = first; warp < first + count; ++warp) acquire(warp, all);
  }
  void acquire(std::size_t warp, const Clocks& clocks) { join(known_[warp], clocks); }

  bool knows(std::size_t warp, std::size_t other, std::uint16_t clock) const {
    return known_[warp][other] > clock;
  }
  // `readers`: of each warp, the clock after that of its last read; 0: there was none.
  bool knows_all(std::size_t warp, const std::uint16_t* readers) const {
    for (std::size_t other = 0; other < known_.size(); ++other)
      if (other != warp && readers[other] != 0 && !knows(warp, other, readers[other] - 1)) return false;
    return true;
  }
  // Clocks are 16 bits; nobody has come near that.
  bool has_overflown() const {
    return std::any_of(clock_.begin(), clock_.end(), [](std::uint16_t clock) { return clock > 0xfff0; });
  }

 private:
  static void join(Clocks& to, const Clocks& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = std::max(to[i], from[i]);
  }
  Clocks clock_;
  std::vector<Clocks> known_;
};

}  // namespace emulated
