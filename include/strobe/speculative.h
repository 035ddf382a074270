// Speculative decoding: which tokens of a draft a target model takes, and the token behind them. What comes
// out is distributed as if every token had been drawn from the target model.
//
// Probabilities have integer weights, w(p) = round(p * 2^40) to nearest even, as in strobe/sampling.h, so
// that both backends give the same tokens for the same random numbers; a row's probabilities should add up to
// 1, and results are exact but for what they miss of that. Number i of request b is the 64 bits that Philox
// 4x32-10 makes of key (seed) and counter (offset, b, i / 2), words 2 (i % 2) and 2 (i % 2) + 1 of its block,
// lower word first; b is 0 when requests have seeds of their own. scaled(i, n) = floor(number i * n / 2^64).
//
// Bad requests. A request is bad when a token that is looked at is out of range, when a probability that is
// looked at is NaN, negative or above 2, or when a row that is drawn from weighs nothing. What has been taken
// before stays; the token behind it is 0, and `valid` is false.
//
// All throw Error(kInvalidArgument) on shapes, dtypes, strides, overlaps or ranges other than stated, and
// Error(kUnsupported) on a vocabulary of more than 2^22 tokens.
#pragma once

#include <cstdint>

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/sampling.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

struct ChainSpeculativeSamplingArgs {
  TensorView draft_probs;       // [batch_size, num_draft, vocab_size], f32, f16 or bf16
  TensorView draft_token_ids;   // [batch_size, num_draft], i32 or i64: drawn from draft_probs; -1: no more
  TensorView target_probs;      // [batch_size, num_draft + 1, vocab_size], like draft_probs
  TensorView output_token_ids;  // [batch_size, num_draft + 1], like draft_token_ids
  TensorView accepted;          // optional [batch_size], i32
  TensorView emitted;           // optional [batch_size], i32
  TensorView valid;             // optional [batch_size], bool: whether the request was good
  bool accumulate = false;      // `accepted` and `emitted` are added to rather than written
  RandomNumbers random;
};

// A draft in a row. Token i, of draft probability p and target probability q, is accepted when
// scaled(i, w(p)) < w(q): with probability min(1, q / p). `emitted` is the number of tokens before the first
// that is not, `accepted` that of all accepted tokens. output_token_ids has the emitted ones; then one drawn,
// by scaled(num_draft, sum), from the weights max(w(q_j) - w(p_j), 0) of the place where the chain ended, or,
// where no token was refused or these weights are 0, from w(q_j); then -1 (Leviathan et al., 2023; Chen et
// al., 2023).
STROBE_API void chain_speculative_sampling(const ChainSpeculativeSamplingArgs& args,
                                           const Launch& launch = {});

// A draft with branches: the nodes of each request's tree. Node 0 is the root, its token the last one that is
// known; a node's probabilities are those behind its token.
struct DraftTree {
  TensorView candidates;           // [batch_size, num_nodes], i32 or i64: the nodes' tokens
  TensorView retrieve_index;       // [batch_size, num_nodes], like candidates: each node's place in predicts
  TensorView retrieve_next_token;  // [batch_size, num_nodes], like candidates: the first child; -1: none
  TensorView retrieve_next_sibling;  // [batch_size, num_nodes], like candidates: the next sibling; -1: none
};

// What has been taken of a tree. Of the places of the tree's nodes, `predicts` gets the token behind the node
// where the node was taken, -1 elsewhere; other places stay as they are.
struct TreeResult {
  TensorView predicts;          // [num_places], i32
  TensorView accept_index;      // [batch_size, num_steps], i32: places of the nodes taken, from the root; -1
  TensorView accept_token_num;  // [batch_size], i32: how many were taken beside the root
  TensorView valid;             // optional [batch_size], bool: whether the request was good
};

struct TreeSpeculativeSamplingArgs {
  DraftTree tree;
  TensorView target_probs;  // [batch_size, num_nodes, vocab_size], f32, f16 or bf16
  TreeResult result;
  RandomNumbers random;
};

// From the root on, at node i: a child is taken when scaled(i, 2^40) is below its weight and that of its
// siblings before it. Where none is taken, the token is drawn, by scaled(num_nodes, sum), from the weights of
// the others; where the tree or num_steps ends, or these weights are 0, from those of all tokens. A token
// that has come before among its siblings weighs nothing. A tree is also bad when a link is out of range or
// leads in a circle. At most 512 nodes. (Miao et al., SpecInfer, 2024; with the children a partition of what
// the target may say.)
STROBE_API void tree_speculative_sampling(const TreeSpeculativeSamplingArgs& args, const Launch& launch = {});

struct VerifyTreeGreedyArgs {
  DraftTree tree;
  TensorView target_predict;  // [batch_size, num_nodes], like candidates: the token behind each node
  TreeResult result;
};

// From the root on, the child whose token is the one that the target predicts; the token behind the last node
// is the one predicted there.
STROBE_API void verify_tree_greedy(const VerifyTreeGreedyArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
