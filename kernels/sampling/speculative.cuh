// Drafts verified by a target model: chains and trees. include/strobe/speculative.h has the rules.
//
// A cluster works on a request. Every block finds by itself how far the draft goes: it looks at few
// probabilities. All of them then weigh the row of the place where it ended, less what the draft has had its
// chance at, and the first one draws from what is left.
//
// Constants: Dtype kInput; Draft kDraft; int kVector, kCluster.
#include "sampling/sampling_kind.h"
#include "sampling/speculative_kind.h"

constexpr strobe::kernel::TokenSource kSource = strobe::kernel::TokenSource::kProbs;
constexpr bool kRowLengths = false;
constexpr int kBatchValues = kCluster == 1 && kInput != strobe::kernel::Dtype::kF32 ? 8 : 16;

#include "ptx/dependency.h"
#include "sampling/draw.cuh"
#include "sampling/residual.cuh"
#include "sampling/speculative_params.h"
#include "sampling/tree_walk.h"
#include "tile/element.h"

namespace strobe::kernel {

STROBE_DEVICE float prob_at(const char* row, int64_t token) {
  return load_float<kInput>(row + token * size_of(kInput));
}
STROBE_DEVICE uint64_t number_of(const SpeculativeParams& params, int request, int number) {
  return random_bits(at_row(params.seed, request), at_row(params.offset, request),
                     params.seed.per_row != 0 ? 0 : static_cast<uint32_t>(request),
                     static_cast<uint32_t>(number));
}
STROBE_DEVICE bool is_first_thread() { return cluster_rank() == 0 && threadIdx.x == 0; }

// Draws behind a draft: put(token), or 0 and false where that is not possible. is_refused(column): not that.
template <class Correct, class IsRefused, class Put>
STROBE_DEVICE void draw_behind(const SpeculativeParams& params, int request, const char* target,
                               const char* draft, Shared& shared, Correct correct, IsRefused is_refused,
                               Put put) {
  const Residual residual(params.cut, target, draft);
  if (threadIdx.x == 0) shared.random = number_of(params, request, params.places);
  residual.weigh(shared);
  wait_for_all();
  let_next_kernel_begin();
  if (cluster_rank() != 0) return;
  correct();  // takes away from the segments
  const bool everything = residual.take_everything_for_nothing(params.cut, shared);
  const auto weight_of = [&](int column) {
    return everything ? residual.weight(column) : is_refused(column) ? 0 : residual.weight_left(column);
  };
  const bool good = !any_bad_warp(shared) && draw_column(params.cut, residual.columns(), shared, weight_of,
                                                         [&](int column) { put(column, true); });
  if (!good && threadIdx.x == 0) put(0, false);
}

// How far a chain goes. Every warp finds out by itself, a lane for each token.
struct Chain {
  int end = 0, accepted = 0;
  bool refused = false, bad = false;

  STROBE_DEVICE Chain(const SpeculativeParams& params, int request) {
    bool open = true, going = true;  // no token has been refused; the draft has not ended
    for (int first = 0; first < params.places && going; first += 32) {
      const int place = first + lane_of_thread();
      bool over = place >= params.places, is_bad = false, accepts = false;
      if (!over) {
        const int64_t token = params.tokens[static_cast<int64_t>(request) * params.places + place];
        over = token == -1;
        is_bad = !over && (token < 0 || token >= params.cut.vocab_size);
        if (!over && !is_bad) {
          const float drafted = prob_at(params.draft.row(request, place), token),
                      wanted = prob_at(params.target.row(request, place), token);
          is_bad = bad_prob(drafted) || bad_prob(wanted);
          accepts =
              !is_bad && scaled_to(number_of(params, request, place), weight_of(drafted)) < weight_of(wanted);
        }
      }
      const uint32_t overs = votes_of_warp(over), bads = votes_of_warp(is_bad);
      const uint32_t there = overs == 0 ? 0xffffffffu : (overs & (0 - overs)) - 1;
      const uint32_t taken = votes_of_warp(accepts) & there, not_taken = ~taken;
      accepted += __popc(taken);
      if (open) {
        const int run = not_taken == 0 ? 32 : __ffs(static_cast<int>(not_taken)) - 1;
        end = first + run;
        open = run == 32;
        if (!open) {
          bad = (bads & there) >> run & 1;
          refused = there >> run & 1;
        }
      }
      going = overs == 0;
    }
  }
};

STROBE_DEVICE void put_token(const SpeculativeParams& params, int64_t at, int64_t token) {
  if (params.tokens.wide != 0)
    reinterpret_cast<int64_t*>(params.out)[at] = token;
  else
    reinterpret_cast<int32_t*>(params.out)[at] = static_cast<int32_t>(token);
}

STROBE_DEVICE void verify_chain(const SpeculativeParams& params, int request, Shared& shared) {
  const Chain chain(params, request);
  const int64_t row = static_cast<int64_t>(request) * (params.places + 1);
  const auto put = [&](int64_t token, bool good) {
    put_token(params, row + chain.end, token);
    if (params.valid != nullptr) params.valid[request] = good;
  };
  if (cluster_rank() == 0)
    for (int place = static_cast<int>(threadIdx.x); place <= params.places; place += kThreads)
      if (place != chain.end)
        put_token(
            params, row + place,
            place < chain.end ? params.tokens[static_cast<int64_t>(request) * params.places + place] : -1);
  if (is_first_thread()) {
    const auto count = [&](int32_t* counts, int number) {
      if (counts != nullptr) counts[request] = number + (params.accumulate != 0 ? counts[request] : 0);
    };
    count(params.accepted, chain.accepted);
    count(params.emitted, chain.end);
    if (chain.bad) put(0, false);
  }
  if (!chain.bad)
    draw_behind(
        params, request, params.target.row(request, chain.end),
        chain.refused ? params.draft.row(request, chain.end) : nullptr, shared, [] {},
        [](int) { return false; }, put);
}

// Positive 32-bit numbers, and -1, as they are; -2 for any other.
STROBE_DEVICE int32_t bounded(int64_t x) { return x >= -1 && x <= 0x7fffffff ? static_cast<int32_t>(x) : -2; }

STROBE_DEVICE void load_tree(const SpeculativeParams& params, int64_t row, DraftTreeWalk& tree) {
  for (int node = static_cast<int>(threadIdx.x); node < params.places; node += kThreads) {
    tree.token[node] = bounded(params.tokens[row + node]);
    tree.child[node] = bounded(params.child[row + node]);
    tree.sibling[node] = bounded(params.sibling[row + node]);
  }
  __syncthreads();
}

// The place of a node in predicts; -1 when it has none.
STROBE_DEVICE int64_t place_of(const SpeculativeParams& params, int64_t at) {
  const int64_t index = params.index[at];
  return index >= 0 && index < params.num_predicts ? index : -1;
}

// Writes what has been taken, but for the token behind it. All threads of the first block.
STROBE_DEVICE void put_path(const SpeculativeParams& params, int request, const DraftTreeWalk& tree) {
  const int64_t row = static_cast<int64_t>(request) * params.places;
  for (int node = static_cast<int>(threadIdx.x); node < params.places; node += kThreads)
    if (const int64_t place = place_of(params, row + node); place >= 0) params.predicts[place] = -1;
  __syncthreads();
  for (int step = static_cast<int>(threadIdx.x); step < params.steps; step += kThreads) {
    const int64_t place = step <= tree.taken ? place_of(params, row + tree.path[step]) : -1;
    params.accept_index[static_cast<int64_t>(request) * params.steps + step] = static_cast<int32_t>(place);
    if (step < tree.taken && place >= 0) params.predicts[place] = tree.token[tree.path[step + 1]];
  }
  if (threadIdx.x == 0) params.accept_token_num[request] = tree.taken;
}

STROBE_DEVICE void verify_tree(const SpeculativeParams& params, int request, Shared& shared,
                               DraftTreeWalk& tree) {
  const int64_t row = static_cast<int64_t>(request) * params.places;
  load_tree(params, row, tree);
  if (threadIdx.x == 0) {
    TreeDraw draw;
    tree.walk(
        params.places, params.steps,
        [&](int32_t node) {
          if constexpr (kDraft == Draft::kTree)
            draw = {scaled_to(number_of(params, request, node), uint64_t{1} << 40), 0};
        },
        [&](int32_t node, int32_t next) {
          if constexpr (kDraft == Draft::kTree) {
            return draw.takes(tree, node, next, params.cut.vocab_size, [&](int32_t parent, int32_t token) {
              const float prob = prob_at(params.target.row(request, parent), token);
              return bad_prob(prob) ? ~uint64_t{0} : weight_of(prob);
            });
          } else {
            const int32_t wanted = bounded(params.predicted[row + node]);
            return wanted < 0 || tree.token[next] < 0 ? -1 : static_cast<int>(tree.token[next] == wanted);
          }
        });
    for (int step = 0; step <= tree.taken; ++step)
      tree.bad |= static_cast<int32_t>(place_of(params, row + tree.path[step]) < 0);
  }
  __syncthreads();
  if (cluster_rank() == 0) put_path(params, request, tree);
  const auto put = [&](int64_t token, bool good) {
    const int64_t place = place_of(params, row + tree.last());
    if (place >= 0) params.predicts[place] = static_cast<int32_t>(token);
    if (params.valid != nullptr) params.valid[request] = good;
  };
  if constexpr (kDraft == Draft::kGreedyTree) {
    if (threadIdx.x != 0) return;
    const int32_t wanted = tree.bad != 0 ? -1 : bounded(params.predicted[row + tree.last()]);
    put(wanted < 0 ? 0 : wanted, wanted >= 0);
  } else if (tree.bad != 0) {
    if (is_first_thread()) put(0, false);
  } else {
    const auto correct = [&] {
      if (threadIdx.x == 0)
        for (int32_t i = 0; i < tree.refused; ++i)
          shared.segment[tree.refused_token[i] >> params.cut.segment_shift] -= tree.refused_weight[i];
      __syncthreads();
    };
    draw_behind(
        params, request, params.target.row(request, tree.last()), nullptr, shared, correct,
        [&](int column) { return tree.is_refused(column); }, put);
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, kCluster == 1 ? 2 : 1)
    strobe_speculative(const __grid_constant__ strobe::kernel::SpeculativeParams params) {
  using namespace strobe::kernel;
  extern __shared__ Shared block_memory[];
  Shared& shared = *block_memory;
  const int request = static_cast<int>(blockIdx.x / kCluster);
  wait_for_kernel_before();
  if constexpr (kCluster > 1) wait_for_cluster();  // all its blocks have begun
  if constexpr (kDraft == Draft::kChain)
    verify_chain(params, request, shared);
  else
    verify_tree(
        params, request, shared,
        *reinterpret_cast<DraftTreeWalk*>(reinterpret_cast<char*>(block_memory) + kSamplingSharedBytes));
}
