#include <memory>

#include "core/read.h"
#include "cpu/parallel.h"
#include "cpu/residual_kernel.h"
#include "ops/random_numbers.h"
#include "ops/speculative_call.h"
#include "sampling/tree_walk.h"
#include "sampling/weight.h"

namespace strobe::op {
namespace {

const char* row_at(const TensorView& view, std::int64_t request, std::int64_t place) {
  return view.as<char>() + (request * view.strides[0] + place * view.strides[1]) *
                               static_cast<std::int64_t>(size_of(view.dtype));
}

std::int64_t integer(const TensorView& view, std::int64_t row, std::int64_t column) {
  return view.dtype == Dtype::kI64 ? view.at<std::int64_t>(row, column) : view.at<std::int32_t>(row, column);
}

void put_integer(const TensorView& view, std::int64_t row, std::int64_t column, std::int64_t value) {
  if (view.dtype == Dtype::kI64)
    view.at<std::int64_t>(row, column) = value;
  else
    view.at<std::int32_t>(row, column) = static_cast<std::int32_t>(value);
}

// Positive 32-bit numbers, and -1, as they are; -2 for any other.
std::int32_t bounded(std::int64_t x) {
  return x >= -1 && x <= 0x7fffffff ? static_cast<std::int32_t>(x) : -2;
}

// A token's weight; above all weights for a bad probability.
std::uint64_t weight_at(const TensorView& probs, std::int64_t request, std::int64_t place,
                        std::int64_t token) {
  const auto prob = static_cast<float>(read(probs, request, place, token));
  return kernel::bad_prob(prob) ? ~std::uint64_t{0} : kernel::weight_of(prob);
}

cpu::ResidualRow residual(const TensorView& target, std::int64_t request, std::int64_t place,
                          std::uint64_t random) {
  return {.target = row_at(target, request, place),
          .vocab_size = target.shape[2],
          .dtype = target.dtype,
          .random = random};
}

void put_valid(const TensorView& valid, std::int64_t request, bool good) {
  if (valid.given()) valid.at<bool>(request) = good;
}

// How far a chain goes.
struct Chain {
  std::int64_t end = 0, accepted = 0;
  bool refused = false, bad = false;
};

Chain chain_of(const ChainSpeculativeSamplingArgs& args, std::int64_t request) {
  Chain chain;
  bool open = true;
  const std::int64_t places = args.draft_token_ids.shape[1], vocab = args.target_probs.shape[2];
  for (std::int64_t place = 0; place < places; ++place) {
    const std::int64_t token = integer(args.draft_token_ids, request, place);
    if (token == -1) break;
    bool bad = token < 0 || token >= vocab, accepts = false;
    if (!bad) {
      const std::uint64_t drafted = weight_at(args.draft_probs, request, place, token),
                          wanted = weight_at(args.target_probs, request, place, token);
      bad = drafted == ~std::uint64_t{0} || wanted == ~std::uint64_t{0};
      accepts = !bad && kernel::scaled_to(random_of(args.random, request, static_cast<std::uint32_t>(place)),
                                          drafted) < wanted;
    }
    chain.accepted += accepts;
    if (!open) continue;
    chain.end += accepts;
    if (accepts) continue;
    open = false;
    chain.bad = bad;
    chain.refused = !bad;
  }
  return chain;
}

void verify_chain(const ChainSpeculativeSamplingArgs& args, std::int64_t request) {
  const Chain chain = chain_of(args, request);
  const std::int64_t places = args.draft_token_ids.shape[1];
  std::int64_t token = -1;
  if (!chain.bad) {
    cpu::ResidualRow row = residual(args.target_probs, request, chain.end,
                                    random_of(args.random, request, static_cast<std::uint32_t>(places)));
    if (chain.refused) row.draft = row_at(args.draft_probs, request, chain.end);
    token = (*cpu::draw_residual)(row);
  }
  const auto put = [&](std::int64_t place, std::int64_t id) {
    put_integer(args.output_token_ids, request, place, id);
  };
  for (std::int64_t place = 0; place < chain.end; ++place)
    put(place, integer(args.draft_token_ids, request, place));
  put(chain.end, token < 0 ? 0 : token);
  for (std::int64_t place = chain.end + 1; place <= places; ++place) put(place, -1);
  const auto count = [&](const TensorView& counts, std::int64_t number) {
    if (!counts.given()) return;
    auto& sum = counts.at<std::int32_t>(request);
    sum = static_cast<std::int32_t>(number) + (args.accumulate ? sum : 0);
  };
  count(args.accepted, chain.accepted);
  count(args.emitted, chain.end);
  put_valid(args.valid, request, token >= 0);
}

std::int64_t place_of(const DraftTree& tree, const TreeResult& result, std::int64_t request,
                      std::int64_t node) {
  const std::int64_t place = integer(tree.retrieve_index, request, node);
  return place >= 0 && place < result.predicts.shape[0] ? place : -1;
}

// Walks a request's tree, has token_behind(walk) say what stands behind the last node (-1: it is bad), and
// writes what has been taken.
template <class Enter, class Takes, class TokenBehind>
void verify_tree(const DraftTree& tree, const TreeResult& result, std::int64_t request, Enter enter,
                 Takes takes, TokenBehind token_behind) {
  const auto walk = std::make_unique_for_overwrite<kernel::DraftTreeWalk>();
  const std::int64_t nodes = tree.candidates.shape[1], steps = result.accept_index.shape[1];
  for (std::int64_t node = 0; node < nodes; ++node) {
    walk->token[node] = bounded(integer(tree.candidates, request, node));
    walk->child[node] = bounded(integer(tree.retrieve_next_token, request, node));
    walk->sibling[node] = bounded(integer(tree.retrieve_next_sibling, request, node));
    const std::int64_t place = place_of(tree, result, request, node);
    if (place >= 0) result.predicts.at<std::int32_t>(place) = -1;
  }
  walk->walk(static_cast<std::int32_t>(nodes), static_cast<std::int32_t>(steps), enter,
             [&](std::int32_t node, std::int32_t next) { return takes(*walk, node, next); });
  const auto put = [&](std::int32_t step, std::int32_t token) {
    const std::int64_t place = place_of(tree, result, request, walk->path[step]);
    if (place < 0) walk->bad = 1;
    if (place >= 0) result.predicts.at<std::int32_t>(place) = token;
    return static_cast<std::int32_t>(place);
  };
  auto& indices = result.accept_index;
  for (std::int32_t step = 0; step < steps; ++step)
    indices.at<std::int32_t>(request, step) = step < walk->taken
                                                  ? put(step, walk->token[walk->path[step + 1]])
                                              : step == walk->taken ? put(step, 0)
                                                                    : -1;
  result.accept_token_num.at<std::int32_t>(request) = walk->taken;
  const std::int64_t token = walk->bad != 0 ? -1 : token_behind(*walk);
  if (token >= 0) put(walk->taken, static_cast<std::int32_t>(token));
  put_valid(result.valid, request, token >= 0);
}

void verify_tree(const TreeSpeculativeSamplingArgs& args, std::int64_t request) {
  const std::int64_t nodes = args.tree.candidates.shape[1], vocab = args.target_probs.shape[2];
  kernel::TreeDraw draw;
  verify_tree(
      args.tree, args.result, request,
      [&](std::int32_t node) {
        draw = {kernel::scaled_to(random_of(args.random, request, static_cast<std::uint32_t>(node)),
                                  std::uint64_t{1} << 40),
                0};
      },
      [&](kernel::DraftTreeWalk& walk, std::int32_t node, std::int32_t next) {
        return draw.takes(walk, node, next, static_cast<std::int32_t>(vocab),
                          [&](std::int32_t parent, std::int32_t token) {
                            return weight_at(args.target_probs, request, parent, token);
                          });
      },
      [&](const kernel::DraftTreeWalk& walk) {
        cpu::ResidualRow row = residual(args.target_probs, request, walk.last(),
                                        random_of(args.random, request, static_cast<std::uint32_t>(nodes)));
        row.refused = walk.refused_token;
        row.refused_count = walk.refused;
        return (*cpu::draw_residual)(row);
      });
}

void verify_tree(const VerifyTreeGreedyArgs& args, std::int64_t request) {
  const auto predicted = [&](std::int32_t node) {
    return bounded(integer(args.target_predict, request, node));
  };
  verify_tree(
      args.tree, args.result, request, [](std::int32_t) {},
      [&](const kernel::DraftTreeWalk& walk, std::int32_t node, std::int32_t next) {
        const std::int32_t wanted = predicted(node), token = walk.token[next];
        return wanted < 0 || token < 0 ? -1 : static_cast<int>(token == wanted);
      },
      [&](const kernel::DraftTreeWalk& walk) -> std::int64_t { return predicted(walk.last()); });
}

template <class F>
void for_each_request(std::int64_t requests, std::int64_t bytes, F f) {
  cpu::parallel_ranges(requests, bytes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t request = begin; request < end; ++request) f(request);
  });
}

std::int64_t row_bytes(const TensorView& probs) {
  return probs.shape[2] * static_cast<std::int64_t>(size_of(probs.dtype));
}

}  // namespace

void run_speculative_cpu(const ChainSpeculativeSamplingArgs& args) {
  for_each_request(args.draft_token_ids.shape[0], 2 * row_bytes(args.target_probs),
                   [&](std::int64_t request) { verify_chain(args, request); });
}

void run_speculative_cpu(const TreeSpeculativeSamplingArgs& args) {
  for_each_request(args.target_probs.shape[0], row_bytes(args.target_probs),
                   [&](std::int64_t request) { verify_tree(args, request); });
}

void run_speculative_cpu(const VerifyTreeGreedyArgs& args) {
  for_each_request(args.target_predict.shape[0], 16 * args.target_predict.shape[1],
                   [&](std::int64_t request) { verify_tree(args, request); });
}

}  // namespace strobe::op
