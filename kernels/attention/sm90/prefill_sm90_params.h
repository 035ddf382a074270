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
// the pack. The maps' innermost axes are panels of 64 columns, or the whole row where 64 does not divide it.
struct AttentionSm90Params {
  TensorMap q, out;  // [packs, panels, tokens, heads of a pack, columns]; boxes of 64 rows
  TensorMap k,
      v;  // [pages, KV heads, panels, tokens of a page, columns]; boxes of box_tokens; ragged: one page
  AttentionParams attention;
  Sm90List* list;  // of attention.items
  int32_t packs_of_kv_head, pack_log2;
  int32_t box_tokens;  // divides the tokens of a block and, where there are pages, of a page
};

}  // namespace strobe::kernel
