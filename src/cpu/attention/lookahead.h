// Fetching the cache ahead of its use, for the path that is bound by memory.
#pragma once

#include "cpu/attention/kv_rows.h"

namespace strobe::cpu::STROBE_ISA {

// Rows that are asked for before they are used (10 KiB at D128 in bf16): more than latency x bandwidth needs
// (100 ns x 44 GB/s), and few enough to stay in the first-level cache beside the rows in use. 24 and 64
// measured slower.
inline constexpr int kRowsAhead = 40;
// More of them before a stretch of work that uses none up (the softmax): about as many lines as a core can
// have in flight.
inline constexpr int kRowsBurst = 8;

// A cursor over the rows in the order of their use: K of a tile, its V, K and V of the next tile. Every step
// of the computation moves it by as much as the step uses up, so that memory is kept evenly busy; it asks for
// whole rows, in order.
template <class T>
struct Lookahead {
  const T* const* rows[4];
  int counts[4];
  int lines[4];  // of a row
  int segment, token;
  int fetched;  // rows of this tile and the next one asked for
};

template <class T>
STROBE_INLINE void skip_finished(Lookahead<T>* ahead) {
  while (ahead->segment < 4 && ahead->token >= ahead->counts[ahead->segment]) {
    ++ahead->segment;
    ahead->token = 0;
  }
}

// Asks for rows until those behind the first `used` ones of the tile are kRowsAhead.
template <class T>
STROBE_INLINE void fetch_ahead(Lookahead<T>* ahead, int used) {
  while (ahead->fetched < used + kRowsAhead && ahead->segment < 4) {
    const char* row = reinterpret_cast<const char*>(ahead->rows[ahead->segment][ahead->token]);
    for (int line = 0; line < ahead->lines[ahead->segment]; ++line) prefetch_once(row + line * 64);
    ++ahead->fetched;
    ++ahead->token;
    skip_finished(ahead);
  }
}

// The tile `now` begins; what has been fetched of it while it was the next one stays so.
template <class T>
STROBE_INLINE void begin_tile(const Item& it, const KvRows<T>& now, const KvRows<T>& next,
                              Lookahead<T>* ahead) {
  const int k_lines = (it.problem->head_dim_qk * static_cast<int>(sizeof(T)) + 63) / 64;
  const int v_lines = (it.problem->head_dim_vo * static_cast<int>(sizeof(T)) + 63) / 64;
  const int segment = larger(ahead->segment - 2, 0), token = ahead->segment < 2 ? 0 : ahead->token;
  *ahead = {{now.k, now.v, next.k, next.v},
            {now.count, now.count, next.count, next.count},
            {k_lines, v_lines, k_lines, v_lines},
            segment,
            token,
            segment * now.count + token};
  skip_finished(ahead);
}

}  // namespace strobe::cpu::STROBE_ISA
