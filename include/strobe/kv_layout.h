// How the heads and tokens of a KV cache lie in memory.
#pragma once

#include <cstdint>

namespace strobe::inline v1 {

enum class KvLayout : std::uint8_t {
  kNhd,  // a token's heads side by side: [num_pages, page_size, num_kv_heads, head_dim], [kv_len,
         // num_kv_heads, head_dim]
  kHnd,  // a head's tokens side by side: [num_pages, num_kv_heads, page_size, head_dim], [num_kv_heads,
         // kv_len, head_dim]
};

}  // namespace strobe::inline v1
