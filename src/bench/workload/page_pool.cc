#include "bench/workload/page_pool.h"

#include <numeric>
#include <utility>

#include "op/random.h"

namespace strobe::bench {

PagePool::PagePool(int num_pages, std::uint64_t seed) : ring_(num_pages), free_(num_pages) {
  std::iota(ring_.begin(), ring_.end(), 0);
  if (seed == 0) return;
  op::Random random(seed);
  for (int last = num_pages - 1; last > 0; --last) std::swap(ring_[last], ring_[random.integer(0, last)]);
}

std::int32_t PagePool::take() {
  const std::int32_t page = ring_[head_];
  head_ = head_ + 1 == num_pages() ? 0 : head_ + 1;
  --free_;
  return page;
}

void PagePool::give_back(std::int32_t page) {
  const int until_wrap = num_pages() - head_;
  ring_[free_ < until_wrap ? head_ + free_ : free_ - until_wrap] = page;
  ++free_;
}

}  // namespace strobe::bench
