// What the prefill kernel of Hopper takes.
#pragma once

#include "attention/attention_params.h"
#include "tile/tensor_map.h"

namespace strobe::kernel {

// In device memory, since a plan changes it under a captured launch.
struct Sm90List {
  uint32_t taken,
      ended;      // pieces of work beyond the grid's first; blocks. Zeros, and the kernel leaves them so
  int32_t items;  // each is done for every pack
  int32_t packs_together;  // divides the packs: the whole list is done for so many, then for the next
};

// A pack is 2^pack_log2 query heads of a KV head that share a tile's rows: row = token << pack_log2 | head of
// the pack.
struct AttentionSm90Params {
  TensorMap q, out;  // [packs, tokens, heads of a pack, dim]; boxes of 64 rows and 64 columns
  TensorMap k,
      v;  // [pages, KV heads, tokens of a page, dim]; boxes of box_tokens and 64 columns; ragged: one page
  AttentionParams attention;
  Sm90List* list;  // of attention.items
  int32_t packs, packs_of_kv_head, pack_log2;
  int32_t box_tokens;  // divides the tokens of a block and, where there are pages, of a page
};

}  // namespace strobe::kernel
