// What the prefill kernel of Hopper takes.
#pragma once

#include "attention/attention_params.h"
#include "tile/tensor_map.h"

namespace strobe::kernel {

// In device memory, since a plan changes it under a captured launch.
struct Sm90List {
  uint32_t taken,
      ended;         // pieces of work beyond the grid's first; blocks. Zeros, and the kernel leaves them so
  uint32_t work;     // pieces of work: every item for every pack
  Divisor section;   // pieces of a section: the whole list for so many packs
  Divisor together;  // those packs, which divide all
};

// A pack is 2^pack_log2 query heads of a KV head that share a tile's rows: row = token << pack_log2 | head of
// the pack. The maps' innermost axes are panels of 128 bytes, or whole rows, and one panel, where 128 does
// not divide these; boxes have all panels.
struct AttentionSm90Params {
  TensorMap q, out;  // [packs, panels, tokens, heads of a pack, columns]; boxes of 64 rows; e4m3: no out
  // Paged: [KV heads, eights of tokens, panels, 8, columns], boxes of box_tokens; else [1, KV heads, panels,
  // tokens, columns], boxes of a block.
  TensorMap k, v;
  AttentionParams attention;
  Sm90List* list;  // of attention.items
  int32_t packs_of_kv_head, pack_log2;
  int32_t box_tokens;                    // a block's or, paged, a divisor of that and of a page's: 8 at least
  int32_t k_page_eights, v_page_eights;  // eights of tokens from page to page
};

}  // namespace strobe::kernel
