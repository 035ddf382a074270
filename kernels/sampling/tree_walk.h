// The walk from the root of a draft's tree to the last node that is taken, for host and device.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

inline constexpr int kMostNodes = 512;

struct DraftTreeWalk {
  int32_t token[kMostNodes], child[kMostNodes], sibling[kMostNodes];

  int32_t path[kMostNodes];  // the nodes taken: `taken` of them behind the root
  int32_t taken;
  int32_t refused_token[kMostNodes];  // children of the last node, and what they weigh
  uint64_t refused_weight[kMostNodes];
  int32_t refused;
  int32_t bad;

  STROBE_DEVICE int32_t last() const { return path[taken]; }

  // What a refused token weighed: it is not drawn any more.
  STROBE_DEVICE bool is_refused(int32_t token_id) const {
    for (int32_t i = 0; i < refused; ++i)
      if (refused_token[i] == token_id) return true;
    return false;
  }

  // takes(node, child): 1: take it, 0: refuse it, -1: something about it is bad.
  template <class Enter, class Takes>
  STROBE_DEVICE void walk(int32_t nodes, int32_t steps, Enter enter, Takes takes) {
    int32_t seen = 0, node = 0;
    path[0] = taken = bad = 0;
    for (;;) {
      refused = 0;
      if (taken + 1 >= steps) return;
      enter(node);
      int32_t next = child[node], answer = 0;
      while (next != -1) {
        // Every node but the root is seen once at the most.
        bad = next < 0 || next >= nodes || ++seen >= nodes;
        if (bad != 0) return;
        answer = takes(node, next);
        if (answer != 0) break;
        next = sibling[next];
      }
      bad = answer < 0;
      if (answer <= 0) return;
      node = path[++taken] = next;
    }
  }
};

// Takes children at random, by their weights.
struct TreeDraw {
  uint64_t coin = 0, below = 0;

  // weight(node, token): of the token behind the node; above 2^41: a bad one.
  template <class Weight>
  STROBE_DEVICE int takes(DraftTreeWalk& tree, int32_t node, int32_t next, int32_t vocab_size,
                          Weight weight_of_token) {
    const int32_t token = tree.token[next];
    if (token < 0 || token >= vocab_size) return -1;
    const uint64_t weight = tree.is_refused(token) ? 0 : weight_of_token(node, token);
    if (weight > uint64_t{1} << 41) return -1;
    below += weight;
    if (coin < below) return 1;
    tree.refused_token[tree.refused] = token;
    tree.refused_weight[tree.refused++] = weight;
    return 0;
  }
};

}  // namespace strobe::kernel
