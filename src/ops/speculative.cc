#include "strobe/speculative.h"

#include "core/read.h"
#include "op/call.h"
#include "ops/operand_bytes.h"
#include "ops/sampling_declare.h"
#include "ops/speculative_call.h"
#include "reference/speculative.h"
#include "sampling/tree_walk.h"

namespace strobe::inline v1 {
namespace {

using op::Axes;
using op::check_random_numbers;
using op::check_vocabulary;
using op::Cost;
using op::Declare;
using op::fill_probs;
using op::kFloats;
using op::operand_bytes;
using op::Operator;
using op::Phase;
using op::Random;
using op::reject;
using op::run_speculative_cpu;
using op::run_speculative_cuda;
using op::same_as;
using op::with_random_numbers;

constexpr op::DtypeSet kIntegers = {Dtype::kI32, Dtype::kI64};

void put_integer(const TensorView& view, std::int64_t row, std::int64_t column, std::int64_t value) {
  if (view.dtype == Dtype::kI64)
    view.at<std::int64_t>(row, column) = value;
  else
    view.at<std::int32_t>(row, column) = static_cast<std::int32_t>(value);
}

std::int64_t integer(const TensorView& view, std::int64_t row, std::int64_t column) {
  return view.dtype == Dtype::kI64 ? view.at<std::int64_t>(row, column) : view.at<std::int32_t>(row, column);
}

// Tokens of a draft: drawn from its probabilities.
void fill_draft(const TensorView& ids, const TensorView& probs, Random& random) {
  for (std::int64_t request = 0; request < ids.shape[0]; ++request)
    for (std::int64_t place = 0; place < ids.shape[1]; ++place) {
      double target = random.uniform();
      std::int64_t token = 0;
      for (; token + 1 < probs.shape[2]; ++token) {
        target -= read(probs, request, place, token);
        if (target < 0) break;
      }
      put_integer(ids, request, place, token);
    }
}

// Trees in which every node has two children while there are nodes: those of node i are 2 i + 1 and 2 i + 2.
std::int64_t first_child(std::int64_t node, std::int64_t nodes) {
  return 2 * node + 1 < nodes ? 2 * node + 1 : -1;
}
std::int64_t next_sibling(std::int64_t node, std::int64_t nodes) {
  return node % 2 == 1 && node + 1 < nodes ? node + 1 : -1;
}

template <class F>
void fill_nodes(const TensorView& view, F of_node) {
  for (std::int64_t request = 0; request < view.shape[0]; ++request)
    for (std::int64_t node = 0; node < view.shape[1]; ++node)
      put_integer(view, request, node, of_node(request, node));
}

// The candidates of a tree: the most probable even and odd tokens behind their parents.
void fill_candidates(const TensorView& view, const TensorView& probs) {
  fill_nodes(view, [&](std::int64_t request, std::int64_t node) {
    std::int64_t best = 0;
    double largest = -1;
    for (std::int64_t token = node % 2; token < probs.shape[2]; token += 2)
      if (const double p = read(probs, request, node == 0 ? 0 : (node - 1) / 2, token); p > largest) {
        largest = p;
        best = token;
      }
    return best;
  });
}

template <class Args, class D>
D& with_links(D& declare) {
  return declare
      .template input<&Args::tree, &DraftTree::retrieve_index>(
          "retrieve_index", "batch_size, num_nodes", same_as("candidates"), "places of the nodes in predicts")
      .dense()
      .fill([](const TensorView& view, const Axes&, const Args&, Random&) {
        fill_nodes(view,
                   [&](std::int64_t request, std::int64_t node) { return request * view.shape[1] + node; });
      })
      .template input<&Args::tree, &DraftTree::retrieve_next_token>(
          "retrieve_next_token", "batch_size, num_nodes", same_as("candidates"), "first children; -1: none")
      .dense()
      .fill([](const TensorView& view, const Axes&, const Args&, Random&) {
        fill_nodes(view, [&](std::int64_t, std::int64_t node) { return first_child(node, view.shape[1]); });
      })
      .template input<&Args::tree, &DraftTree::retrieve_next_sibling>(
          "retrieve_next_sibling", "batch_size, num_nodes", same_as("candidates"), "next siblings; -1: none")
      .dense()
      .fill([](const TensorView& view, const Axes&, const Args&, Random&) {
        fill_nodes(view, [&](std::int64_t, std::int64_t node) { return next_sibling(node, view.shape[1]); });
      });
}

template <class Args, class D>
D& with_result(D& declare) {
  return declare
      .template inout<&Args::result, &TreeResult::predicts>("predicts", "num_places", Dtype::kI32,
                                                            "the tokens behind the nodes that were taken")
      .dense()
      .template output<&Args::result, &TreeResult::accept_index>(
          "accept_index", "batch_size, num_steps", Dtype::kI32, "places of the nodes that were taken")
      .dense()
      .template output<&Args::result, &TreeResult::accept_token_num>(
          "accept_token_num", "batch_size", Dtype::kI32, "nodes that were taken beside the root")
      .dense()
      .template output<&Args::result, &TreeResult::valid>("valid", "batch_size", Dtype::kBool,
                                                          "whether the request was good")
      .optional()
      .dense();
}

template <class D>
D& with_tree_axes(D& declare) {
  return declare.axis("batch_size", 64, "requests")
      .axis("num_nodes", 16, "nodes of a tree, the root among them")
      .axis("num_places", 1024, "elements of predicts")
      .axis("num_steps", 5, "nodes that may be taken, the root among them");
}

void check_tree(const Operator& op, const DraftTree& tree, const TreeResult& result) {
  if (tree.candidates.shape[1] < 1 || tree.candidates.shape[1] > kernel::kMostNodes)
    reject(op, "num_nodes", "expected 1 to {}, got {}", kernel::kMostNodes, tree.candidates.shape[1]);
  if (result.accept_index.shape[1] < 1)
    reject(op, "num_steps", "expected at least 1, got {}", result.accept_index.shape[1]);
}

template <class Args, class D>
D& with_backends(D& declare) {
  return declare.accuracy([](const Args&, const Axes&, int) { return op::Accuracy{}; })
      .backend(Backend::kCpu, [](const Args& args, const Axes&, const Launch&) { run_speculative_cpu(args); })
      .backend(Backend::kCudaSm80, [](const Args& args, const Axes&, const Launch& launch) {
        run_speculative_cuda(args, launch);
      });
}

// Of the row that each request is drawn from.
Cost row_cost(const TensorView& probs, double rows) {
  const double elements = rows * static_cast<double>(probs.shape[0] * probs.shape[2]);
  return {.flops = 4 * elements, .bytes = elements * static_cast<double>(size_of(probs.dtype))};
}

const Operator& chain_operator() {
  using Args = ChainSpeculativeSamplingArgs;
  static const Operator op = [] {
    Declare<Args> declare("chain_speculative_sampling", "speculative",
                          "Verifies a draft's tokens by a target's probabilities, and draws the one behind.");
    declare
        .formula("token i is accepted with probability min(1, target_probs[b, i, t] / draft_probs[b, i, t])")
        .source(
            "Leviathan et al., Fast Inference from Transformers via Speculative Decoding, 2023; Chen et al., "
            "Accelerating Large Language Model Decoding with Speculative Sampling, 2023")
        .function("strobe::chain_speculative_sampling")
        .rule("num_outputs = num_draft + 1")
        .rule("behind a refused token one is drawn from max(target - draft, 0), else from the target")
        .axis("batch_size", 64, "requests")
        .axis("num_draft", 4, "tokens of a draft")
        .axis("num_outputs", 5, "num_draft + 1")
        .axis("vocab_size", 128256, "tokens of a row")
        .axis("num_seeds", 1, "1 or batch_size")
        .axis("num_offsets", 1, "1 or batch_size")
        .input<&Args::draft_probs>("draft_probs", "batch_size, num_draft, vocab_size", kFloats,
                                   "probabilities of the draft")
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          fill_probs(view, random);
        })
        .input<&Args::draft_token_ids>("draft_token_ids", "batch_size, num_draft", kIntegers,
                                       "its tokens; -1: no more")
        .dense()
        .fill([](const TensorView& view, const Axes&, const Args& args, Random& random) {
          fill_draft(view, args.draft_probs, random);
        })
        .input<&Args::target_probs>("target_probs", "batch_size, num_outputs, vocab_size",
                                    same_as("draft_probs"), "probabilities of the target")
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          fill_probs(view, random);
        })
        .output<&Args::output_token_ids>("output_token_ids", "batch_size, num_outputs",
                                         same_as("draft_token_ids"), "emitted tokens, one more, then -1")
        .dense()
        .inout<&Args::accepted>("accepted", "batch_size", Dtype::kI32, "tokens that are accepted")
        .optional()
        .dense()
        .inout<&Args::emitted>("emitted", "batch_size", Dtype::kI32, "those before the first that is not")
        .optional()
        .dense()
        .output<&Args::valid>("valid", "batch_size", Dtype::kBool, "whether the request was good")
        .optional()
        .dense()
        .attribute<&Args::accumulate>("accumulate", "accepted and emitted are added to")
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_vocabulary(self, args.target_probs.shape[2]);
          check_random_numbers(self, args.random, args.draft_token_ids.shape[0]);
          if (args.target_probs.shape[1] != args.draft_probs.shape[1] + 1)
            reject(self, "target_probs", "expected num_draft + 1 = {} rows a request, got {}",
                   args.draft_probs.shape[1] + 1, describe(args.target_probs));
        })
        .cost([](const Args& args, const Axes&) { return row_cost(args.target_probs, 2); })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::chain_speculative_sampling(args, expected);
        });
    return with_backends<Args>(with_random_numbers<Args>(declare)).build();
  }();
  return op;
}

constexpr char kSpecInfer[] =
    "Miao et al., SpecInfer: Accelerating Large Language Model Serving with Tree-based Speculative Inference "
    "and Verification, 2024";

const Operator& tree_operator() {
  using Args = TreeSpeculativeSamplingArgs;
  static const Operator op = [] {
    Declare<Args> declare(
        "tree_speculative_sampling", "speculative",
        "Walks a tree of drafted tokens by a target's probabilities, and draws the one behind.");
    declare
        .formula(
            "a child is taken with its probability under the target, else a token is drawn from the others")
        .source(kSpecInfer)
        .function("strobe::tree_speculative_sampling")
        .rule("links that are out of range or lead in a circle make a request bad");
    with_tree_axes(declare)
        .axis("vocab_size", 128256, "tokens of a row")
        .axis("num_seeds", 1, "1 or batch_size")
        .axis("num_offsets", 1, "1 or batch_size")
        .input<&Args::target_probs>("target_probs", "batch_size, num_nodes, vocab_size", kFloats,
                                    "probabilities behind the nodes")
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          fill_probs(view, random);
        })
        .input<&Args::tree, &DraftTree::candidates>("candidates", "batch_size, num_nodes", kIntegers,
                                                    "tokens of the nodes")
        .dense()
        .fill([](const TensorView& view, const Axes&, const Args& args, Random&) {
          fill_candidates(view, args.target_probs);
        });
    with_random_numbers<Args>(with_result<Args>(with_links<Args>(declare)))
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_vocabulary(self, args.target_probs.shape[2]);
          check_tree(self, args.tree, args.result);
          check_random_numbers(self, args.random, args.target_probs.shape[0]);
        })
        .cost([](const Args& args, const Axes&) { return row_cost(args.target_probs, 1); })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::tree_speculative_sampling(args, expected);
        });
    return with_backends<Args>(declare).build();
  }();
  return op;
}

const Operator& greedy_operator() {
  using Args = VerifyTreeGreedyArgs;
  static const Operator op = [] {
    Declare<Args> declare("verify_tree_greedy", "speculative",
                          "Walks a tree of drafted tokens along those that a target predicts.");
    declare.formula("the child of node i is taken whose token is target_predict[b, i]")
        .source(kSpecInfer)
        .function("strobe::verify_tree_greedy")
        .rule("links that are out of range or lead in a circle make a request bad");
    with_tree_axes(declare)
        .input<&Args::tree, &DraftTree::candidates>("candidates", "batch_size, num_nodes", kIntegers,
                                                    "tokens of the nodes")
        .dense()
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          fill_nodes(view, [&](std::int64_t, std::int64_t) { return random.integer(0, 9999); });
        })
        .input<&Args::target_predict>("target_predict", "batch_size, num_nodes", same_as("candidates"),
                                      "the token behind each node")
        .dense()
        .fill([](const TensorView& view, const Axes&, const Args& args, Random& random) {
          fill_nodes(view, [&](std::int64_t request, std::int64_t node) {  // one of two children, or neither
            const std::int64_t child = 2 * node + random.integer(1, 3);
            return child < view.shape[1] && child < 2 * node + 3
                       ? integer(args.tree.candidates, request, child)
                       : random.integer(0, 9999);
          });
        });
    with_result<Args>(with_links<Args>(declare))
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_tree(self, args.tree, args.result);
        })
        .cost([](const Args& args, const Axes&) {
          const DraftTree& tree = args.tree;
          return Cost{.flops = 0,
                      .bytes = operand_bytes(tree.candidates, tree.retrieve_index, tree.retrieve_next_token,
                                             tree.retrieve_next_sibling, args.target_predict,
                                             args.result.accept_index)};
        })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::verify_tree_greedy(args, expected);
        });
    return with_backends<Args>(declare).build();
  }();
  return op;
}

}  // namespace

void chain_speculative_sampling(const ChainSpeculativeSamplingArgs& args, const Launch& launch) {
  op::call(chain_operator(), args, launch);
}
void tree_speculative_sampling(const TreeSpeculativeSamplingArgs& args, const Launch& launch) {
  op::call(tree_operator(), args, launch);
}
void verify_tree_greedy(const VerifyTreeGreedyArgs& args, const Launch& launch) {
  op::call(greedy_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_speculative(Registry& registry) {
  registry.add(chain_operator());
  registry.add(tree_operator());
  registry.add(greedy_operator());
}

}  // namespace strobe::op
