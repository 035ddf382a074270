// Deals a decode batch to the blocks of a GPU. The host runs this code on one thread and a kernel on a
// block's, so that their lists are the same.
//
// Rows are all query tokens of a request for one set of KV heads; rows lie end to end, in the order of
// requests and heads, on a line of costs, counted in tiles of kDecodeTileTokens KV tokens of all heads
// together. A block's items are neighbours on the line. Everything but sums over requests is known of each
// block by itself. The first of these rules is taken that leaves no block more than 5 % above its fair share:
//   1. whole rows, each to the block whose share its middle lies in: nothing to merge;
//   2. fewer rows than blocks: every row in equal pieces, each a block's only item;
//   3. the line cut at the borders of equal shares, which are moved to the end of a row that is near, or
//   short:
//      the blocks differ more then, but the memory that they share does not wait for them, as merges do.
// A deterministic list has rows in pieces by their length alone, dealt like whole rows.
#pragma once

#include "attention/attention_params.h"
#include "attention/attention_request.h"

namespace strobe::kernel {

struct DecodeListOptions {
  int32_t num_kv_heads = 1;
  int32_t group_size = 1;      // query heads for each KV head
  int32_t heads_together = 1;  // KV heads that a block takes together; divides num_kv_heads
  int32_t blocks = 1;          // that the GPU holds at once
  int32_t window_left = -1;    // KV before the first query token's window is left out; -1 off
  // Splits follow from a request's own lengths alone.
  bool deterministic = false;
};

// Borders between items are multiples of this many KV tokens, so that tiles do not straddle them.
inline constexpr int32_t kDecodeTileTokens = 32;
// The most partial results of a row in a deterministic list.
inline constexpr int32_t kMostDecodeParts = 32;

// A place on the line: a tile of a row, the row being one of a request's sets of heads.
struct DecodePlace {
  int32_t request, row, tile, piece;  // piece: of the row, where rows come in pieces
};

// Memory for the plan of `requests` and `blocks`.
struct DecodePlanScratch {
  int64_t* cost;                          // [requests + 1], of what lies before a request
  int32_t *items, *cut_items, *cut_rows;  // the same: items (rule 3: rows), those of cut rows, cut rows
  DecodePlace* places;                    // [blocks + 1]: where a block's items begin
  int32_t* further_items;                 // [blocks + 1]: of the blocks before, beyond their first
  int32_t *cuts, *first_cuts;             // [blocks + 1], rule 3: cuts within rows before a block's; of rows
};

struct DecodeListSize {
  int32_t items, merges, slots, partial_rows;
};

struct DecodeList {
  AttentionItem* items;
  AttentionRun* runs;
  AttentionMerge* merges;
};

// Team: the threads that plan together. rank() of size(); sync(), a barrier of all; sum(x), of all threads'
// x; sum_before(x), of the threads of lower rank.
template <class Team>
class DecodePlan {
 public:
  STROBE_DEVICE DecodePlan(Team& team, const AttentionRequest* requests, int32_t count,
                           const DecodeListOptions& options, const DecodePlanScratch& scratch)
      : team_(team), requests_(requests), count_(count), options_(options), at_(scratch) {
    rows_of_request_ = options.num_kv_heads / options.heads_together;
  }

  // Whether whole rows are dealt fairly, for a team of one.
  STROBE_DEVICE bool whole_rows_do() {
    set_rule(Rule::kWhole);
    return !exceeds_share();
  }

  // Whether every row comes in pieces that have a block each and are not longer than others' by much, the
  // longest of at least so many tiles. Then that is the rule.
  STROBE_DEVICE bool equal_pieces_do(int64_t least_tiles = 0) {
    set_rule(Rule::kWhole);
    const int64_t longest = longest_piece();
    if (longest == 0 || longest < least_tiles) return false;
    longest_ = longest;
    set_rule(Rule::kEqual);
    return true;
  }

  // Chooses the rule and finds every block's part of the line. All threads get the result. Rules are tried in
  // a loop, so that a kernel has their code once.
  STROBE_DEVICE DecodeListSize measure() {
    Rule rule = options_.deterministic ? Rule::kPieces : Rule::kWhole;
    longest_ = kPieceTokens / kDecodeTileTokens;
    for (;;) {
      set_rule(rule);
      find_places();
      if (rule != Rule::kWhole || !team_.any(is_unfair())) break;
      longest_ = longest_piece();
      rule = longest_ > 0 ? Rule::kEqual : Rule::kShares;
    }
    count_items();
    return size();
  }

  STROBE_DEVICE void emit(const DecodeList& list) {
    for (int32_t block = team_.rank(); block < options_.blocks; block += team_.size())
      emit_block(list, block);
  }

 private:
  enum class Rule : int32_t { kWhole, kEqual, kPieces, kShares };
  // In tiles.
  static constexpr int64_t kItemCost = 2;          // starting and finishing an item
  static constexpr int64_t kSmallestPiece = 4;     // no cut leaves less of a row
  static constexpr int64_t kSlackPercent = 5;      // of a block above its fair share
  static constexpr int64_t kShortRowPercent = 30;  // of a share: such rows are not cut
  static constexpr int32_t kPieceTokens = 2048;    // of a deterministic piece, unless that makes too many

  // What a row reads of its request's KV.
  struct Row {
    int32_t kv_begin, kv_end;
    STROBE_DEVICE int64_t tiles() const {
      return static_cast<uint32_t>(kv_end - kv_begin + kDecodeTileTokens - 1) / kDecodeTileTokens;
    }
    STROBE_DEVICE int32_t border(int64_t tile) const {
      const int64_t token = kv_begin + tile * kDecodeTileTokens;
      return token < kv_end ? static_cast<int32_t>(token) : kv_end;
    }
  };

  STROBE_DEVICE Row row_of(int32_t request) const {
    const AttentionRequest& r = requests_[request];
    Row row{0, r.kv_len};
    if (options_.window_left >= 0) {
      const int64_t first = static_cast<int64_t>(r.kv_len) - r.qo_len - options_.window_left;
      if (first > 0) row.kv_begin = static_cast<int32_t>(first / kDecodeTileTokens * kDecodeTileTokens);
      if (row.kv_begin > r.kv_len) row.kv_begin = r.kv_len;
    }
    return row;
  }

  STROBE_DEVICE int32_t rows(int32_t request) const {
    return requests_[request].qo_len > 0 ? rows_of_request_ : 0;
  }

  STROBE_DEVICE int64_t pieces(const Row& row) const {
    if (rule_ == Rule::kWhole || rule_ == Rule::kShares || row.tiles() <= longest_) return 1;
    const int64_t wanted = (row.tiles() + longest_ - 1) / longest_;
    return options_.deterministic && wanted > kMostDecodeParts ? kMostDecodeParts : wanted;
  }

  STROBE_DEVICE int64_t cost_of_row(int32_t request) const {
    const Row row = row_of(request);
    return row.tiles() + pieces(row) * kItemCost;
  }

  // to[i] = the sum of value(0) … value(i - 1), for i up to n.
  template <class T, class F>
  STROBE_DEVICE void sum_up(T* to, int32_t n, F value) {
    const Range own = own_part(n);
    int64_t sum = 0;
    if (team_.size() > 1) {
      for (int32_t i = own.begin; i < own.end; ++i) sum += value(i);
      sum = team_.sum_before(sum);
    }
    for (int32_t i = own.begin; i < own.end; ++i) {
      to[i] = static_cast<T>(sum);
      sum += value(i);
    }
    if (own.begin < own.end && own.end == n) to[n] = static_cast<T>(sum);
    if (n == 0 && team_.rank() == 0) to[0] = 0;
    team_.sync();
  }

  // Neighbours of n, for this thread.
  struct Range {
    int32_t begin, end;
  };
  STROBE_DEVICE Range own_part(int32_t n) const {
    const int32_t part = (n + team_.size() - 1) / team_.size(), begin = least(n, team_.rank() * part);
    return {begin, least(n, begin + part)};
  }

  static STROBE_DEVICE int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

  STROBE_DEVICE void set_rule(Rule rule) {
    rule_ = rule;
    sum_up(at_.cost, count_, [this](int32_t r) { return rows(r) * cost_of_row(r); });
    total_ = at_.cost[count_];
  }

  STROBE_DEVICE int64_t most_of_block(int64_t total) const {
    return total * (100 + kSlackPercent) / (100 * options_.blocks);
  }

  // Whether one of this thread's blocks has too much, at the places that have been found.
  STROBE_DEVICE bool is_unfair() const {
    const int64_t most = most_of_block(total_);
    const Range own = own_part(options_.blocks);
    int64_t start = start_of(at_.places[own.begin]);
    for (int32_t block = own.begin; block < own.end; ++block) {
      const int64_t end = start_of(at_.places[block + 1]);
      if (end - start > most) return true;
      start = end;
    }
    return false;
  }

  // The same as the places are found, up to the first that has.
  STROBE_DEVICE bool exceeds_share() const {
    const int64_t most = most_of_block(total_);
    int64_t start = 0;
    for (int32_t block = 0; block < options_.blocks; ++block) {
      const int64_t end = start_of(first_by_middle(block + 1));
      if (end - start > most) return true;
      start = end;
    }
    return false;
  }

  // The cost before a place.
  STROBE_DEVICE int64_t start_of(const DecodePlace& place) const {
    if (place.request == count_) return total_;
    const int64_t rows = place.row == 0 ? 0 : place.row * cost_of_row(place.request);
    return at_.cost[place.request] + rows + place.tile + place.piece * kItemCost;
  }

  // Tiles of the longest piece when every piece has a block of its own; 0 when there are more rows than
  // blocks, or the blocks would be too unequal.
  STROBE_DEVICE int64_t longest_piece() {
    int64_t own_rows = 0, own_longest = kSmallestPiece;
    for (int32_t r = team_.rank(); r < count_; r += team_.size()) {
      own_rows += rows(r);
      const int64_t tiles = row_of(r).tiles();
      if (tiles > own_longest) own_longest = tiles;
    }
    const int64_t all_rows = team_.sum(own_rows);
    if (all_rows > options_.blocks) return 0;
    const auto count_pieces = [&](int64_t longest) {
      int64_t count = 0;
      for (int32_t r = team_.rank(); r < count_; r += team_.size())
        count += rows(r) * ((row_of(r).tiles() + longest - 1) / longest + (row_of(r).tiles() == 0 ? 1 : 0));
      return team_.sum(count);
    };
    int64_t low = kSmallestPiece, high = team_.most(own_longest);
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (count_pieces(middle) <= options_.blocks)
        high = middle;
      else
        low = middle + 1;
    }
    const int64_t total = total_ + (count_pieces(low) - all_rows) * kItemCost;
    // So small a batch that pieces cannot be shorter is as well served.
    return low == kSmallestPiece || low + kItemCost <= most_of_block(total) ? low : 0;
  }

  // The last request that does not begin behind `at` of these sums, and has rows.
  template <class T>
  STROBE_DEVICE int32_t request_at(const T* sums, int64_t at) const {
    int32_t low = 0, high = count_;
    while (low + 1 < high) {
      const int32_t middle = (low + high) / 2;
      if (sums[middle] <= at)
        low = middle;
      else
        high = middle;
    }
    return low;
  }

  STROBE_DEVICE DecodePlace end_of_line() const { return {count_, 0, 0, 0}; }

  STROBE_DEVICE DecodePlace begin_of_row(int32_t request, int32_t row) const {
    if (row < rows(request)) return {request, row, 0, 0};
    while (++request < count_ && rows(request) == 0) {
    }
    return {request, 0, 0, 0};
  }

  static STROBE_DEVICE int64_t tile_of_piece(const Row& row, int64_t piece, int64_t pieces) {
    return pieces == 1 ? row.tiles() * piece : row.tiles() * piece / pieces;
  }

  // The first item whose middle lies in the share of a block or of one behind it.
  STROBE_DEVICE DecodePlace first_by_middle(int32_t block) const {
    const int64_t at = total_ * block / options_.blocks;
    if (block >= options_.blocks || total_ == 0) return end_of_line();
    const int32_t request = request_at(at_.cost, at);
    const Row row = row_of(request);
    const int64_t n = pieces(row), cost = row.tiles() + n * kItemCost;
    const int64_t number = (at - at_.cost[request]) / cost, begin = at_.cost[request] + number * cost;
    const auto start = [&](int64_t piece) {
      return begin + tile_of_piece(row, piece, n) + piece * kItemCost;
    };
    const auto lies_behind = [&](int64_t piece) {
      return (start(piece) + start(piece + 1)) * options_.blocks >= 2 * total_ * block;
    };
    int64_t piece = n == 1 ? 0 : (at - begin) * n / cost;
    while (piece > 0 && lies_behind(piece - 1)) --piece;
    while (piece < n && !lies_behind(piece)) ++piece;
    if (piece == n) return begin_of_row(request, static_cast<int32_t>(number) + 1);
    return {request, static_cast<int32_t>(number), static_cast<int32_t>(tile_of_piece(row, piece, n)),
            static_cast<int32_t>(piece)};
  }

  STROBE_DEVICE DecodePlace item_at(int32_t item) const {
    if (item >= at_.items[count_]) return end_of_line();
    const int32_t request = request_at(at_.items, item);
    const Row row = row_of(request);
    const auto n = static_cast<int32_t>(pieces(row)), number = item - at_.items[request];
    return {request, number / n, static_cast<int32_t>(tile_of_piece(row, number % n, n)), number % n};
  }

  // Where the share of a block begins, moved to the row's begin or end where that is near.
  STROBE_DEVICE DecodePlace border_of_share(int32_t block) const {
    int64_t shares = total_ / (kSmallestPiece + kItemCost);
    if (shares > options_.blocks) shares = options_.blocks;
    if (shares < 1) shares = 1;
    if (block >= shares || total_ == 0) return end_of_line();
    const int64_t at = total_ * block / shares;
    const int32_t request = request_at(at_.cost, at);
    const int64_t cost = cost_of_row(request), rest = at - at_.cost[request], tiles = cost - kItemCost;
    const auto row = static_cast<int32_t>(rest / cost);
    const int64_t tile = rest % cost - kItemCost / 2;
    const bool is_short = tiles * shares * 100 <= total_ * kShortRowPercent;
    const int64_t near = is_short ? (tiles + 1) / 2 : kSmallestPiece;
    if (tile < near) return {request, row, 0, 0};
    if (is_short || tiles - tile < near) return begin_of_row(request, row + 1);
    return {request, row, static_cast<int32_t>(tile), 0};
  }

  STROBE_DEVICE void find_places() {
    sum_up(at_.items, count_, [this](int32_t r) { return rows(r) * pieces(row_of(r)); });
    for (int32_t block = team_.rank(); block <= options_.blocks; block += team_.size())
      at_.places[block] = rule_ == Rule::kShares  ? border_of_share(block)
                          : rule_ == Rule::kEqual ? item_at(block)
                                                  : first_by_middle(block);
    team_.sync();
  }

  STROBE_DEVICE void count_items() {
    if (rule_ == Rule::kEqual || rule_ == Rule::kPieces) {
      const auto cut = [this](int32_t r) { return pieces(row_of(r)) > 1 ? rows(r) : 0; };
      sum_up(at_.cut_items, count_, [&](int32_t r) { return cut(r) * pieces(row_of(r)); });
      sum_up(at_.cut_rows, count_, cut);
    }
    if (rule_ == Rule::kShares) {
      sum_up(at_.cuts, options_.blocks, [this](int32_t b) { return at_.places[b].tile > 0 ? 1 : 0; });
      sum_up(at_.first_cuts, options_.blocks, [this](int32_t b) { return is_first_cut(b) ? 1 : 0; });
    }
    sum_up(at_.further_items, options_.blocks, [this](int32_t b) {
      const int32_t items = items_before(b + 1) - items_before(b);
      return items > 1 ? items - 1 : 0;
    });
  }

  STROBE_DEVICE static bool same_row(const DecodePlace& a, const DecodePlace& b) {
    return a.request == b.request && a.row == b.row;
  }
  STROBE_DEVICE bool is_first_cut(int32_t block) const {
    return at_.places[block].tile > 0 && !(block > 0 && at_.places[block - 1].tile > 0 &&
                                           same_row(at_.places[block - 1], at_.places[block]));
  }
  STROBE_DEVICE static bool same(const DecodePlace& a, const DecodePlace& b) {
    return same_row(a, b) && a.tile == b.tile && a.piece == b.piece;
  }

  // Where the item that begins at `at`, of a block whose part of the line ends at `end`, ends.
  STROBE_DEVICE DecodePlace next(const DecodePlace& at, const DecodePlace& end) const {
    const Row row = row_of(at.request);
    if (rule_ == Rule::kShares) return same_row(at, end) ? end : begin_of_row(at.request, at.row + 1);
    const int64_t n = pieces(row);
    if (at.piece + 1 == n) return begin_of_row(at.request, at.row + 1);
    return {at.request, at.row, static_cast<int32_t>(tile_of_piece(row, at.piece + 1, n)), at.piece + 1};
  }

  STROBE_DEVICE int32_t items_before(int32_t block) const {
    const DecodePlace& place = at_.places[block];
    const int32_t whole = at_.items[place.request];
    if (rule_ == Rule::kShares) return whole + place.row + at_.cuts[block] + (place.tile > 0 ? 1 : 0);
    const int64_t of_rows = place.row == 0 ? 0 : place.row * pieces(row_of(place.request));
    return whole + static_cast<int32_t>(of_rows) + place.piece;
  }

  STROBE_DEVICE DecodeListSize size() {
    const bool shares = rule_ == Rule::kShares;
    const int32_t n = shares ? options_.blocks : count_;
    const bool whole = rule_ == Rule::kWhole;
    const int32_t cut_rows = whole ? 0 : shares ? at_.first_cuts[n] : at_.cut_rows[n];
    const int32_t cut_items = whole ? 0 : shares ? at_.cuts[n] + cut_rows : at_.cut_items[n];
    int64_t tokens = 0;
    for (int32_t r = team_.rank(); r < count_; r += team_.size())
      if (requests_[r].qo_len > tokens) tokens = requests_[r].qo_len;
    tokens = team_.most(tokens);
    return {.items = options_.blocks + at_.further_items[options_.blocks],
            .merges = cut_rows * options_.heads_together,
            .slots = cut_items * options_.heads_together,
            .partial_rows = cut_rows == 0 ? 0 : static_cast<int32_t>(tokens) * options_.group_size};
  }

  // Which of the cut rows' items, in the order of the line, the item is, and of which cut row; -1: of none.
  struct Cut {
    int32_t item, row;
  };
  STROBE_DEVICE Cut cut_of(const DecodePlace& at, const DecodePlace& end, int32_t block,
                           bool reaches_end) const {
    if (rule_ != Rule::kShares) {
      const auto n = static_cast<int32_t>(pieces(row_of(at.request)));
      if (n == 1) return {-1, -1};
      return {at_.cut_items[at.request] + at.row * n + at.piece, at_.cut_rows[at.request] + at.row};
    }
    const bool ends_cut = reaches_end && end.tile > 0;  // then the next block's place is in this row
    if (at.tile == 0 && !ends_cut) return {-1, -1};
    const int32_t cut = at.tile > 0 ? block : block + 1;
    const int32_t before = at_.cuts[cut] + at_.first_cuts[cut], first = is_first_cut(cut) ? 1 : 0;
    return at.tile > 0 ? Cut{before + first, at_.first_cuts[cut] + first - 1}
                       : Cut{before, at_.first_cuts[cut]};
  }

  STROBE_DEVICE void emit_block(const DecodeList& list, int32_t block) const {
    int32_t further = options_.blocks + at_.further_items[block];
    AttentionRun run{further, further};
    const DecodePlace end = at_.places[block + 1];
    DecodePlace at = at_.places[block];
    if (same(at, end)) {
      list.items[block] = {};
      list.items[block].kv_head = -1;
    }
    for (bool first = true; !same(at, end); first = false) {
      const DecodePlace after = next(at, end);
      emit_item(list, list.items[first ? block : further], at, after, end, block);
      further += first ? 0 : 1;
      at = after;
    }
    run.end = further;
    list.runs[block] = run;
  }

  // Number by number: a processor that has stored an item in parts waits before it can copy it as a whole.
  STROBE_DEVICE void emit_item(const DecodeList& list, AttentionItem& item, const DecodePlace& at,
                               const DecodePlace& after, const DecodePlace& end, int32_t block) const {
    const AttentionRequest& request = requests_[at.request];
    const Row row = row_of(at.request);
    const bool to_row_end = !same_row(at, after);
    const Cut cut = cut_of(at, end, block, same(after, end) && !to_row_end);
    const int32_t heads = options_.heads_together;
    item.kv_head = at.row * heads;
    item.kv_begin = row.border(at.tile);
    item.kv_end = to_row_end ? row.kv_end : row.border(after.tile);
    item.kv_base = request.kv_base;
    item.q_row = request.q_row;
    item.q_tokens = request.qo_len;
    item.position = request.kv_len - request.qo_len;
    item.slot = cut.item < 0 ? -1 : cut.item * heads;
    item.request = request.request;
    item.q_begin = 0;
    item.kv_len = request.kv_len;
    item.merge = cut.item < 0 ? -1 : cut.row * heads;
    if (cut.item >= 0 && at.tile == 0) emit_merges(list, item, parts_of(at, block));
  }

  // Of the cut row that begins in the block.
  STROBE_DEVICE int32_t parts_of(const DecodePlace& at, int32_t block) const {
    if (rule_ != Rule::kShares) return static_cast<int32_t>(pieces(row_of(at.request)));
    int32_t parts = 1;
    while (block + parts < options_.blocks && at_.places[block + parts].tile > 0 &&
           same_row(at_.places[block + parts], at))
      ++parts;
    return parts;
  }

  STROBE_DEVICE void emit_merges(const DecodeList& list, const AttentionItem& first, int32_t parts) const {
    for (int32_t head = 0; head < options_.heads_together; ++head)
      list.merges[first.merge + head] = {.kv_head = first.kv_head + head,
                                         .q_row = first.q_row,
                                         .q_tokens = first.q_tokens,
                                         .first_slot = first.slot + head,
                                         .slot_stride = options_.heads_together,
                                         .parts = parts,
                                         .unused = {}};
  }

  Team& team_;
  const AttentionRequest* requests_;
  int32_t count_;
  const DecodeListOptions& options_;
  DecodePlanScratch at_;
  int32_t rows_of_request_;
  Rule rule_ = Rule::kWhole;
  int64_t longest_ = 0, total_ = 0;
};

}  // namespace strobe::kernel
