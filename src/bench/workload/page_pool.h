// The free pages of a paged KV cache.
#pragma once

#include <cstdint>
#include <vector>

namespace strobe::bench {

// Hands out page ids first freed, first used: a page rests as long as possible before it is used again, as in
// servers that keep freed pages for prefix reuse. Once requests of different lengths have come and gone, page
// tables are scattered.
class PagePool {
 public:
  // `seed` 0: the pool starts in ascending order. Otherwise in a random order, as in a server that has run
  // for long.
  PagePool(int num_pages, std::uint64_t seed);

  int num_pages() const { return static_cast<int>(ring_.size()); }
  int free_pages() const { return free_; }
  int used_pages() const { return num_pages() - free_; }

  std::int32_t take();                // needs free_pages() > 0
  void give_back(std::int32_t page);  // a page taken before

 private:
  std::vector<std::int32_t> ring_;  // the free pages: `free_` entries from `head_` on, wrapping around
  int head_ = 0;
  int free_ = 0;
};

}  // namespace strobe::bench
