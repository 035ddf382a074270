#include "plan/decode_work_list.h"

#include <vector>

namespace strobe::plan {
namespace {

using kernel::DecodePlan;
using kernel::DecodePlanScratch;

constexpr std::int32_t kHeadsTogether[] = {8, 4, 2, 1};
// What several heads gain on pieces of so many tiles is more than what merging theirs costs.
constexpr std::int64_t kLongPiece = 64;

// One thread.
struct Alone {
  static std::int32_t rank() { return 0; }
  static std::int32_t size() { return 1; }
  static void sync() {}
  static std::int64_t sum(std::int64_t x) { return x; }
  static std::int64_t sum_before(std::int64_t) { return 0; }
  static std::int64_t most(std::int64_t x) { return x; }
  static bool any(bool x) { return x; }
};

// The memory of this thread's plans.
DecodePlanScratch scratch_of(std::size_t requests, std::int32_t blocks) {
  struct Memory {
    std::vector<std::int64_t> cost;
    std::vector<std::int32_t> numbers;
    std::vector<kernel::DecodePlace> places;
  };
  thread_local Memory memory;
  const std::size_t of_requests = requests + 1, of_blocks = static_cast<std::size_t>(blocks) + 1;
  memory.cost.resize(of_requests);
  memory.numbers.resize(3 * of_requests + 3 * of_blocks);
  memory.places.resize(of_blocks);
  std::int32_t* const numbers = memory.numbers.data();
  std::int32_t* const by_block = numbers + 3 * of_requests;
  return {.cost = memory.cost.data(),
          .items = numbers,
          .cut_items = numbers + of_requests,
          .cut_rows = numbers + 2 * of_requests,
          .places = memory.places.data(),
          .further_items = by_block,
          .cuts = by_block + of_blocks,
          .first_cuts = by_block + 2 * of_blocks};
}

DecodePlan<Alone> plan_of(Alone& alone, std::span<const AttentionRequest> requests,
                          const DecodeListOptions& options) {
  return {alone, requests.data(), static_cast<std::int32_t>(requests.size()), options,
          scratch_of(requests.size(), options.blocks)};
}

}  // namespace

void make_decode_list(std::span<const AttentionRequest> requests, const DecodeListOptions& options,
                      DeviceWorkList& list) {
  Alone alone;
  DecodePlan<Alone> plan = plan_of(alone, requests, options);
  const kernel::DecodeListSize size = plan.measure();
  list.items.resize(static_cast<std::size_t>(size.items));
  list.runs.resize(static_cast<std::size_t>(options.blocks));
  list.merges.resize(static_cast<std::size_t>(size.merges));
  list.slots = size.slots;
  list.partial_rows = size.partial_rows;
  plan.emit({.items = list.items.data(), .runs = list.runs.data(), .merges = list.merges.data()});
}

std::int32_t choose_heads_together(std::span<const AttentionRequest> requests, DecodeListOptions options) {
  Alone alone;
  for (const std::int32_t heads : kHeadsTogether) {
    options.heads_together = heads;
    if (options.num_kv_heads % heads == 0 && plan_of(alone, requests, options).whole_rows_do()) return heads;
  }
  for (const std::int32_t heads : {2, 1}) {
    options.heads_together = heads;
    if (options.num_kv_heads % heads == 0 &&
        plan_of(alone, requests, options).equal_pieces_do(heads == 1 ? 0 : kLongPiece))
      return heads;
  }
  return options.num_kv_heads % 2 == 0 ? 2 : 1;
}

}  // namespace strobe::plan
