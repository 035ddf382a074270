#include "reference/speculative.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "core/read.h"
#include "sampling/philox.h"
#include "sampling/weight.h"

namespace strobe::reference {
namespace {

using Weights = std::vector<std::int64_t>;

std::int64_t number(const TensorView& view, std::int64_t row, std::int64_t column) {
  return view.dtype == Dtype::kI64 ? view.at<std::int64_t>(row, column) : view.at<std::int32_t>(row, column);
}

// Of one probability; nothing for a bad one.
std::optional<std::int64_t> weight(const TensorView& probs, std::int64_t request, std::int64_t place,
                                   std::int64_t token) {
  const double p = read(probs, request, place, token);
  if (!(p >= 0 && p <= 2)) return std::nullopt;
  return static_cast<std::int64_t>(kernel::weight_of(static_cast<float>(p)));
}

std::optional<Weights> weights(const TensorView& probs, std::int64_t request, std::int64_t place) {
  Weights row;
  for (std::int64_t token = 0; token < probs.shape[2]; ++token) {
    const auto w = weight(probs, request, place, token);
    if (!w) return std::nullopt;
    row.push_back(*w);
  }
  return row;
}

// scaled(i, range) of a request.
std::int64_t scaled(const RandomNumbers& random, std::int64_t request, std::int64_t i, std::int64_t range) {
  const auto of = [&](const TensorView& rows, std::int64_t value) {
    if (!rows.given()) return static_cast<std::uint64_t>(value);
    return static_cast<std::uint64_t>(rows.at<std::int64_t>(rows.shape[0] > 1 ? request : 0));
  };
  const bool own = random.seeds.given() && random.seeds.shape[0] > 1;
  const std::uint64_t bits =
      kernel::random_bits(of(random.seeds, random.seed), of(random.offsets, random.offset),
                          own ? 0 : static_cast<std::uint32_t>(request), static_cast<std::uint32_t>(i));
  return static_cast<std::int64_t>(kernel::scaled_to(bits, static_cast<std::uint64_t>(range)));
}

std::int64_t sum(const Weights& row) {
  std::int64_t all = 0;
  for (std::int64_t w : row) all += w;
  return all;
}

// The token that number i picks among `left`, or, where these are 0, among `all`; nothing when those are,
// too.
std::optional<std::int64_t> draw(const RandomNumbers& random, std::int64_t request, std::int64_t i,
                                 const Weights& left, const Weights& all) {
  const Weights& row = sum(left) > 0 ? left : all;
  if (sum(row) == 0) return std::nullopt;
  std::int64_t target = scaled(random, request, i, sum(row));
  for (std::size_t token = 0; token < row.size(); ++token) {
    if (target < row[token]) return static_cast<std::int64_t>(token);
    target -= row[token];
  }
  return std::nullopt;
}

struct ChainOutcome {
  std::vector<std::int64_t> tokens;
  std::int64_t accepted = 0, emitted = 0;
  bool valid = false;
};

ChainOutcome chain(const ChainSpeculativeSamplingArgs& args, std::int64_t request) {
  ChainOutcome outcome;
  const std::int64_t places = args.draft_token_ids.shape[1], vocab = args.target_probs.shape[2];
  std::optional<std::int64_t> ended;  // where the first token was not accepted
  bool ended_bad = false, drafted = false;
  for (std::int64_t place = 0; place < places; ++place) {
    const std::int64_t token = number(args.draft_token_ids, request, place);
    if (token == -1) break;
    std::optional<std::int64_t> p, q;
    if (token >= 0 && token < vocab) {
      p = weight(args.draft_probs, request, place, token);
      q = weight(args.target_probs, request, place, token);
    }
    const bool accepts = p && q && scaled(args.random, request, place, *p) < *q;
    if (accepts) ++outcome.accepted;
    if (accepts && !ended) outcome.tokens.push_back(token);
    if (!accepts && !ended) {
      ended = place;
      drafted = p && q;
      ended_bad = !drafted;
    }
  }
  outcome.emitted = static_cast<std::int64_t>(outcome.tokens.size());
  std::optional<std::int64_t> token;
  if (!ended_bad) {
    const auto q = weights(args.target_probs, request, outcome.emitted);
    const auto p = drafted ? weights(args.draft_probs, request, outcome.emitted) : q;
    if (p && q) {
      Weights left = *q;
      for (std::size_t j = 0; drafted && j < left.size(); ++j)
        left[j] = std::max<std::int64_t>((*q)[j] - (*p)[j], 0);
      token = draw(args.random, request, places, left, *q);
    }
  }
  outcome.valid = token.has_value();
  outcome.tokens.push_back(token.value_or(0));
  outcome.tokens.resize(static_cast<std::size_t>(places + 1), -1);
  return outcome;
}

struct TreeOutcome {
  std::vector<std::int64_t> path = {0}, tokens;  // nodes taken, and the token behind each
  bool valid = false;
};

// One step from a node: the child that is taken, or the token behind the node.
struct Step {
  std::optional<std::int64_t> child, token;
  bool bad = false;
};

TreeOutcome walk(
    const DraftTree& tree, const TreeResult& result, std::int64_t request,
    const std::function<Step(std::int64_t node, const std::vector<std::int64_t>& children)>& step) {
  TreeOutcome outcome;
  const std::int64_t nodes = tree.candidates.shape[1], steps = result.accept_index.shape[1];
  std::int64_t seen = 0;
  for (;;) {
    const std::int64_t node = outcome.path.back();
    std::vector<std::int64_t> children;
    const bool deeper = static_cast<std::int64_t>(outcome.path.size()) < steps;
    for (std::int64_t child = deeper ? number(tree.retrieve_next_token, request, node) : -1; child != -1;
         child = number(tree.retrieve_next_sibling, request, child)) {
      // A link out of range, or in a circle, spoils the request when the walk comes to it.
      if (child < 0 || child >= nodes || seen + static_cast<std::int64_t>(children.size()) + 1 >= nodes) {
        children.push_back(-1);
        break;
      }
      children.push_back(child);
    }
    const Step next = step(node, children);
    if (next.bad || !next.child) {
      outcome.tokens.push_back(next.token.value_or(0));
      outcome.valid = !next.bad && next.token.has_value();
      return outcome;
    }
    for (std::int64_t child : children) {
      ++seen;
      if (child == *next.child) break;
    }
    outcome.path.push_back(*next.child);
    outcome.tokens.push_back(number(tree.candidates, request, *next.child));
  }
}

Step step_by_weight(const TreeSpeculativeSamplingArgs& args, std::int64_t request, std::int64_t node,
                    const std::vector<std::int64_t>& children) {
  const std::int64_t nodes = args.tree.candidates.shape[1], vocab = args.target_probs.shape[2];
  const std::int64_t coin = scaled(args.random, request, node, std::int64_t{1} << 40);
  std::set<std::int64_t> refused;
  std::int64_t below = 0;
  for (std::int64_t child : children) {
    if (child < 0) return {.bad = true};
    const std::int64_t token = number(args.tree.candidates, request, child);
    if (token < 0 || token >= vocab) return {.bad = true};
    if (refused.contains(token)) continue;
    const auto w = weight(args.target_probs, request, node, token);
    if (!w) return {.bad = true};
    below += *w;
    if (coin < below) return {.child = child};
    refused.insert(token);
  }
  const auto all = weights(args.target_probs, request, node);
  if (!all) return {.bad = true};
  Weights left = *all;
  for (std::int64_t token : refused) left[static_cast<std::size_t>(token)] = 0;
  const auto token = draw(args.random, request, nodes, left, *all);
  return {.token = token, .bad = !token};
}

Step step_by_prediction(const VerifyTreeGreedyArgs& args, std::int64_t request, std::int64_t node,
                        const std::vector<std::int64_t>& children) {
  const auto good = [](std::int64_t token) { return token >= 0 && token <= 0x7fffffff; };
  const std::int64_t wanted = number(args.target_predict, request, node);
  for (std::int64_t child : children) {
    const std::int64_t token = child < 0 ? -1 : number(args.tree.candidates, request, child);
    if (!good(wanted) || !good(token)) return {.bad = true};
    if (token == wanted) return {.child = child};
  }
  return good(wanted) ? Step{.token = wanted} : Step{.bad = true};
}

// expected: predicts, accept_index, accept_token_num, valid when it is given.
void put_trees(const DraftTree& tree, const TreeResult& result, op::Expected& expected,
               const std::function<TreeOutcome(std::int64_t)>& outcome_of) {
  std::map<std::int64_t, std::int64_t> predicts;
  const std::int64_t steps = result.accept_index.shape[1];
  const auto place_of = [&](std::int64_t request, std::int64_t node) {
    const std::int64_t place = number(tree.retrieve_index, request, node);
    return place >= 0 && place < result.predicts.shape[0] ? place : -1;
  };
  for (std::int64_t request = 0; request < tree.candidates.shape[0]; ++request) {
    TreeOutcome outcome = outcome_of(request);
    for (std::int64_t node = 0; node < tree.candidates.shape[1]; ++node)
      predicts[place_of(request, node)] = -1;
    for (std::int64_t node : outcome.path)
      if (place_of(request, node) < 0) {
        outcome.valid = false;
        outcome.tokens.back() = 0;
      }
    for (std::size_t i = 0; i < outcome.path.size(); ++i)
      predicts[place_of(request, outcome.path[i])] = outcome.tokens[i];
    for (std::size_t r = 0; r < expected[1].rows.size(); ++r) {
      if (expected[1].rows[r] != request) continue;
      for (std::int64_t step = 0; step < steps; ++step)
        expected[1].values[r * static_cast<std::size_t>(steps) + static_cast<std::size_t>(step)] =
            step < static_cast<std::int64_t>(outcome.path.size())
                ? static_cast<double>(place_of(request, outcome.path[static_cast<std::size_t>(step)]))
                : -1;
      expected[2].values[r] = static_cast<double>(outcome.path.size() - 1);
      if (result.valid.given()) expected[3].values[r] = outcome.valid;
    }
  }
  for (std::size_t r = 0; r < expected[0].rows.size(); ++r) {
    const auto written = predicts.find(expected[0].rows[r]);
    expected[0].values[r] = written != predicts.end() ? static_cast<double>(written->second)
                                                      : result.predicts.at<std::int32_t>(expected[0].rows[r]);
  }
}

}  // namespace

void chain_speculative_sampling(const ChainSpeculativeSamplingArgs& args, op::Expected& expected) {
  const auto places = static_cast<std::size_t>(args.output_token_ids.shape[1]);
  for (std::size_t r = 0; r < expected[0].rows.size(); ++r) {
    const std::int64_t request = expected[0].rows[r];
    const ChainOutcome outcome = chain(args, request);
    for (std::size_t i = 0; i < places; ++i)
      expected[0].values[r * places + i] = static_cast<double>(outcome.tokens[i]);
    std::size_t output = 1;
    const auto count = [&](const TensorView& counts, std::int64_t value) {
      if (!counts.given()) return;
      const std::int64_t before = args.accumulate ? counts.at<std::int32_t>(request) : 0;
      expected[output++].values[r] = static_cast<double>(before + value);
    };
    count(args.accepted, outcome.accepted);
    count(args.emitted, outcome.emitted);
    if (args.valid.given()) expected[output].values[r] = outcome.valid;
  }
}

void tree_speculative_sampling(const TreeSpeculativeSamplingArgs& args, op::Expected& expected) {
  put_trees(args.tree, args.result, expected, [&](std::int64_t request) {
    return walk(args.tree, args.result, request, [&](std::int64_t node, const auto& children) {
      return step_by_weight(args, request, node, children);
    });
  });
}

void verify_tree_greedy(const VerifyTreeGreedyArgs& args, op::Expected& expected) {
  put_trees(args.tree, args.result, expected, [&](std::int64_t request) {
    return walk(args.tree, args.result, request, [&](std::int64_t node, const auto& children) {
      return step_by_prediction(args, request, node, children);
    });
  });
}

}  // namespace strobe::reference
