#include "plan/decode_work_list.h"

#include <algorithm>
#include <queue>
#include <vector>

namespace strobe::plan {
namespace {

using kernel::AttentionItem;

// Costs are counted in tiles, of all heads together.
constexpr std::int64_t kItemCost = 2;        // starting and finishing an item
constexpr std::int64_t kSmallestPiece = 4;   // no cut leaves less of a row
constexpr std::int64_t kSlackPercent = 5;    // of a block above its fair share
constexpr std::int32_t kPieceTokens = 2048;  // of a deterministic piece, unless that makes too many

constexpr std::int32_t kHeadsTogether[] = {8, 4, 2, 1};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// What a row reads of a request's KV.
struct Row {
  std::int32_t kv_begin, kv_end;
  std::int64_t tiles() const { return ceil_div(kv_end - kv_begin, kDecodeTileTokens); }
  std::int32_t border(std::int64_t tile) const {
    return std::min(kv_end, kv_begin + static_cast<std::int32_t>(tile) * kDecodeTileTokens);
  }
};

Row row_of(const AttentionRequest& request, const DecodeListOptions& options) {
  Row row{0, request.kv_len};
  if (options.window_left >= 0) {
    const std::int64_t first = std::int64_t{request.kv_len} - request.qo_len - options.window_left;
    row.kv_begin = static_cast<std::int32_t>(std::clamp<std::int64_t>(first, 0, request.kv_len)) /
                   kDecodeTileTokens * kDecodeTileTokens;
  }
  return row;
}

std::int64_t total_cost(std::span<const AttentionRequest> requests, const DecodeListOptions& options) {
  std::int64_t cost = 0;
  for (const AttentionRequest& request : requests) cost += row_of(request, options).tiles() + kItemCost;
  return cost * (options.num_kv_heads / options.heads_together);
}

std::int64_t most_of_block(std::int64_t total, const DecodeListOptions& options) {
  return total * (100 + kSlackPercent) / (100 * options.blocks);
}

// Calls f(request, row, first head, block) for whole rows dealt in order. Returns whether none of the blocks
// gets more than `most`; when not, it stops where that shows.
template <class F>
bool deal_whole_rows(std::span<const AttentionRequest> requests, const DecodeListOptions& options,
                     std::int64_t most, F f) {
  std::int32_t block = 0;
  std::int64_t used = 0;
  for (const AttentionRequest& request : requests) {
    const Row row = row_of(request, options);
    const std::int64_t cost = row.tiles() + kItemCost;
    if (cost > most) return false;
    for (std::int32_t head = 0; head < options.num_kv_heads; head += options.heads_together) {
      if (used + cost > most) {
        if (++block == options.blocks) return false;
        used = 0;
      }
      used += cost;
      f(request, row, head, block);
    }
  }
  return true;
}

bool whole_rows_do(std::span<const AttentionRequest> requests, const DecodeListOptions& options) {
  return deal_whole_rows(requests, options, most_of_block(total_cost(requests, options), options),
                         [](const AttentionRequest&, const Row&, std::int32_t, std::int32_t) {});
}

std::int64_t pieces_of(const Row& row, std::int64_t longest) {
  return std::max<std::int64_t>(1, ceil_div(row.tiles(), longest));
}

// Tiles of the longest piece when every piece has a block of its own; 0 when there are more rows than blocks,
// or the blocks would be too unequal.
std::int64_t longest_piece(std::span<const AttentionRequest> requests, const DecodeListOptions& options) {
  const std::int64_t rows_of_request = options.num_kv_heads / options.heads_together;
  const auto rows = static_cast<std::int64_t>(requests.size()) * rows_of_request;
  if (rows > options.blocks) return 0;
  const auto pieces = [&](std::int64_t longest) {
    std::int64_t count = 0;
    for (const AttentionRequest& request : requests) count += pieces_of(row_of(request, options), longest);
    return count * rows_of_request;
  };
  std::int64_t low = kSmallestPiece, high = low;
  for (const AttentionRequest& request : requests) high = std::max(high, row_of(request, options).tiles());
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (pieces(middle) <= options.blocks)
      high = middle;
    else
      low = middle + 1;
  }
  const std::int64_t total = total_cost(requests, options) + (pieces(low) - rows) * kItemCost;
  // So small a batch that pieces cannot be shorter is as well served.
  const bool balanced = low == kSmallestPiece || low + kItemCost <= most_of_block(total, options);
  return balanced ? low : 0;
}

class Builder {
 public:
  Builder(std::span<const AttentionRequest> requests, const DecodeListOptions& options, DeviceWorkList& list)
      : requests_(requests), options_(options), list_(list) {
    list_.clear();
    line().clear();
  }

  void build() {
    if (options_.deterministic)
      pieces_by_length();
    else if (const std::int64_t most = most_of_block(total_cost(requests_, options_), options_);
             whole_rows_do(requests_, options_))
      deal_whole_rows(requests_, options_, most,
                      [this](const AttentionRequest& request, const Row& row, std::int32_t head,
                             std::int32_t block) { add(request, row, head, block); });
    else if (const std::int64_t longest = longest_piece(requests_, options_); longest > 0)
      equal_pieces(longest);
    else
      runs_of_equal_cost();
    lay_out();
  }

 private:
  struct Dealt {
    AttentionItem item;
    std::int32_t block;
  };
  // All items, pieces of a row one after the other.
  static std::vector<Dealt>& line() {
    thread_local std::vector<Dealt> items;
    return items;
  }

  template <class F>
  void for_each_row(F f) {
    for (const AttentionRequest& request : requests_) {
      const Row row = row_of(request, options_);
      for (std::int32_t head = 0; head < options_.num_kv_heads; head += options_.heads_together)
        f(request, row, head);
    }
  }

  void add(const AttentionRequest& request, const Row& piece, std::int32_t head, std::int32_t block) {
    line().push_back({.item = {.kv_head = head,
                               .kv_begin = piece.kv_begin,
                               .kv_end = piece.kv_end,
                               .kv_base = request.kv_base,
                               .q_row = request.q_row,
                               .q_tokens = request.qo_len,
                               .position = request.kv_len - request.qo_len,
                               .slot = -1,
                               .request = request.request,
                               .q_begin = 0,
                               .kv_len = request.kv_len,
                               .merge = -1},
                      .block = block});
  }

  // Piece i of n of the row.
  static Row piece_of(const Row& row, std::int64_t i, std::int64_t n) {
    return {row.border(row.tiles() * i / n), row.border(row.tiles() * (i + 1) / n)};
  }

  void equal_pieces(std::int64_t longest) {
    std::int32_t block = 0;
    for_each_row([&](const AttentionRequest& request, const Row& row, std::int32_t head) {
      const std::int64_t pieces = pieces_of(row, longest);
      for (std::int64_t i = 0; i < pieces; ++i) add(request, piece_of(row, i, pieces), head, block++);
      give_slots(pieces);
    });
  }

  void pieces_by_length() {
    using Load = std::pair<std::int64_t, std::int32_t>;  // cost so far, block
    std::priority_queue<Load, std::vector<Load>, std::greater<>> loads;
    for (std::int32_t block = 0; block < options_.blocks; ++block) loads.emplace(0, block);
    for_each_row([&](const AttentionRequest& request, const Row& row, std::int32_t head) {
      const std::int64_t pieces =
          std::clamp<std::int64_t>(ceil_div(row.kv_end - row.kv_begin, kPieceTokens), 1, kMostDecodeParts);
      for (std::int64_t i = 0; i < pieces; ++i) {
        const Row piece = piece_of(row, i, pieces);
        auto [load, block] = loads.top();
        loads.pop();
        add(request, piece, head, block);
        loads.emplace(load + piece.tiles() + kItemCost, block);
      }
      give_slots(pieces);
    });
  }

  // What a run leaves of its share, or takes too much, is spread over all that follow.
  void runs_of_equal_cost() {
    // Every border between runs adds at most one item.
    const std::int64_t total = total_cost(requests_, options_) + (options_.blocks - 1) * kItemCost;
    std::int32_t block = 0;
    std::int64_t left = total;  // for this block and all later ones
    std::int64_t room = ceil_div(total, options_.blocks);
    const auto next_block = [&] {
      ++block;
      room = ceil_div(left, options_.blocks - block);
    };
    for_each_row([&](const AttentionRequest& request, const Row& row, std::int32_t head) {
      const std::int64_t tiles = row.tiles();
      std::int64_t done = 0, pieces = 0;
      do {
        const bool last = block + 1 == options_.blocks;
        const std::int64_t rest = tiles - done, fit = room - kItemCost;
        const bool takes_all = last || rest <= fit + kSmallestPiece;
        if (!takes_all && fit < kSmallestPiece) {
          next_block();
          continue;
        }
        const std::int64_t taken = takes_all ? rest : fit;
        add(request, {row.border(done), row.border(done + taken)}, head, block);
        ++pieces;
        room -= taken + kItemCost;
        left -= taken + kItemCost;
        done += taken;
        if (!last && (done < tiles || room <= 0)) next_block();
      } while (done < tiles);
      give_slots(pieces);
    });
  }

  // The last `pieces` items are those of one row.
  void give_slots(std::int64_t pieces) {
    if (pieces <= 1) return;
    const auto count = static_cast<std::int32_t>(pieces);
    const std::int32_t heads = options_.heads_together, first_slot = list_.slots;
    Dealt* const items = line().data() + line().size() - pieces;
    const auto merge = static_cast<std::int32_t>(list_.merges.size());
    for (std::int32_t i = 0; i < count; ++i) {
      items[i].item.slot = first_slot + i * heads;
      items[i].item.merge = merge;
    }
    list_.slots += count * heads;
    const AttentionItem& item = items[0].item;
    list_.partial_rows = std::max(list_.partial_rows, item.q_tokens * options_.group_size);
    for (std::int32_t head = 0; head < heads; ++head)
      list_.merges.push_back({.kv_head = item.kv_head + head,
                              .q_row = item.q_row,
                              .q_tokens = item.q_tokens,
                              .first_slot = first_slot + head,
                              .slot_stride = heads,
                              .parts = count,
                              .unused = {}});
  }

  // The first item of every block, then the others by block.
  void lay_out() {
    const auto blocks = static_cast<std::size_t>(options_.blocks);
    constexpr AttentionItem kNoItem{.kv_head = -1};
    list_.items.assign(blocks, kNoItem);
    list_.runs.assign(blocks, {0, 0});
    for (const Dealt& dealt : line()) ++list_.runs[static_cast<std::size_t>(dealt.block)].end;
    auto next = static_cast<std::int32_t>(blocks);
    for (kernel::AttentionRun& run : list_.runs) {
      const std::int32_t further = std::max(0, run.end - 1);
      run = {next, next};
      next += further;
    }
    list_.items.resize(static_cast<std::size_t>(next));
    for (const Dealt& dealt : line()) {
      const auto block = static_cast<std::size_t>(dealt.block);
      AttentionItem& first = list_.items[block];
      if (first.kv_head < 0)
        first = dealt.item;
      else
        list_.items[static_cast<std::size_t>(list_.runs[block].end++)] = dealt.item;
    }
  }

  std::span<const AttentionRequest> requests_;
  const DecodeListOptions& options_;
  DeviceWorkList& list_;
};

}  // namespace

void make_decode_list(std::span<const AttentionRequest> requests, const DecodeListOptions& options,
                      DeviceWorkList& list) {
  Builder(requests, options, list).build();
}

std::int32_t choose_heads_together(std::span<const AttentionRequest> requests, DecodeListOptions options) {
  for (const std::int32_t heads : kHeadsTogether) {
    options.heads_together = heads;
    if (options.num_kv_heads % heads == 0 && whole_rows_do(requests, options)) return heads;
  }
  options.heads_together = 1;
  if (longest_piece(requests, options) > 0) return 1;
  return options.num_kv_heads % 2 == 0 ? 2 : 1;
}

}  // namespace strobe::plan
