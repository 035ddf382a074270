// Small chains and trees for the tests of speculative decoding.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "strobe/speculative.h"

namespace strobe::test {

template <class T>
TensorView matrix(std::vector<T>& values, std::int64_t rows) {
  return TensorView(values.data(), dtype_of<T>, {rows, static_cast<std::int64_t>(values.size()) / rows});
}

// Requests whose draft has the most probable token of each place.
class ChainCase {
 public:
  ChainCase(std::int64_t requests, std::int64_t places, std::int64_t vocab)
      : draft_ids(static_cast<std::size_t>(requests * places)),
        output(static_cast<std::size_t>(requests * (places + 1)), 99),
        accepted(static_cast<std::size_t>(requests), 99),
        emitted(static_cast<std::size_t>(requests), 99),
        valid(static_cast<std::size_t>(requests), 99),
        requests_(requests),
        places_(places),
        draft_(Dtype::kF32, {requests, places, vocab}),
        target_(Dtype::kF32, {requests, places + 1, vocab}) {}

  // The same rows everywhere.
  void set_probs(const std::vector<float>& draft, const std::vector<float>& target) {
    for (std::int64_t request = 0; request < requests_; ++request)
      for (std::int64_t place = 0; place <= places_; ++place) {
        std::copy(target.begin(), target.end(), target_row(request, place));
        if (place < places_) std::copy(draft.begin(), draft.end(), draft_row(request, place));
      }
    const auto best = std::max_element(draft.begin(), draft.end()) - draft.begin();
    std::fill(draft_ids.begin(), draft_ids.end(), static_cast<std::int32_t>(best));
  }
  float* draft_row(std::int64_t request, std::int64_t place) {
    return &draft_.view().at<float>(request, place, 0);
  }
  float* target_row(std::int64_t request, std::int64_t place) {
    return &target_.view().at<float>(request, place, 0);
  }

  ChainSpeculativeSamplingArgs args(const RandomNumbers& random = {.seed = 3}) {
    return {.draft_probs = draft_,
            .draft_token_ids = matrix(draft_ids, requests_),
            .target_probs = target_,
            .output_token_ids = matrix(output, requests_),
            .accepted = TensorView::of(accepted),
            .emitted = TensorView::of(emitted),
            .valid = TensorView(valid.data(), Dtype::kBool, {requests_}),
            .random = random};
  }
  std::int32_t draft(std::int64_t request, std::int64_t place) const {
    return draft_ids[static_cast<std::size_t>(request * places_ + place)];
  }
  std::int32_t token(std::int64_t request, std::int64_t place) const {
    return output[static_cast<std::size_t>(request * (places_ + 1) + place)];
  }

  std::vector<std::int32_t> draft_ids, output, accepted, emitted;
  std::vector<char> valid;

 private:
  std::int64_t requests_, places_;
  Tensor draft_, target_;
};

// Requests of one tree; its nodes' places in `predicts` are their numbers.
class TreeCase {
 public:
  TreeCase(std::int64_t requests, std::int64_t nodes, std::int64_t steps, std::int64_t vocab)
      : requests_(requests), nodes_(nodes), probs_(Dtype::kF32, {requests, nodes, vocab}) {
    const auto all = static_cast<std::size_t>(requests * nodes);
    for (auto* of_nodes : {&candidates, &index, &child, &sibling, &predicts}) of_nodes->assign(all, -1);
    for (std::size_t i = 0; i < all; ++i) index[i] = static_cast<std::int32_t>(i);
    accept_index.assign(static_cast<std::size_t>(requests * steps), 99);
    accepted.assign(static_cast<std::size_t>(requests), 99);
    valid.assign(static_cast<std::size_t>(requests), 1);
    std::fill_n(probs_.as<float>(), probs_.view().size(), 0.0f);
  }
  TreeCase(const TreeCase& other)
      : candidates(other.candidates),
        index(other.index),
        child(other.child),
        sibling(other.sibling),
        predicts(other.predicts),
        accept_index(other.accept_index),
        accepted(other.accepted),
        valid(other.valid),
        requests_(other.requests_),
        nodes_(other.nodes_),
        probs_(other.probs_.clone()) {}

  float* row(std::int64_t request, std::int64_t node) { return &probs_.view().at<float>(request, node, 0); }
  void set_certain(std::int64_t node, std::int64_t token) { row(0, node)[token] = 1; }

  DraftTree tree() {
    return {.candidates = matrix(candidates, requests_),
            .retrieve_index = matrix(index, requests_),
            .retrieve_next_token = matrix(child, requests_),
            .retrieve_next_sibling = matrix(sibling, requests_)};
  }
  TreeResult result() {
    return {.predicts = TensorView::of(predicts),
            .accept_index = matrix(accept_index, requests_),
            .accept_token_num = TensorView::of(accepted),
            .valid = TensorView(valid.data(), Dtype::kBool, {requests_})};
  }
  TreeSpeculativeSamplingArgs args(const RandomNumbers& random = {.seed = 3}) {
    return {.tree = tree(), .target_probs = probs_, .result = result(), .random = random};
  }
  VerifyTreeGreedyArgs greedy(std::vector<std::int32_t>& predicted) {
    return {.tree = tree(), .target_predict = matrix(predicted, requests_), .result = result()};
  }

  std::vector<std::int32_t> candidates, index, child, sibling, predicts, accept_index, accepted;
  std::vector<char> valid;

 private:
  std::int64_t requests_, nodes_;
  Tensor probs_;
};

}  // namespace strobe::test
