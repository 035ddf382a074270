// One step of a serving engine over a paged KV cache: request 0 decodes its 20th token, request 1 prefills
// its first 5.
#include <strobe/strobe.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

using strobe::Dtype, strobe::KvLayout, strobe::MaskMode, strobe::Tensor, strobe::TensorView;

constexpr int kQoHeads = 8, kKvHeads = 2, kHeadDim = 64, kPageSize = 16, kPages = 8, kTokens = 6;

Tensor filled(std::initializer_list<std::int64_t> shape, float value) {
  Tensor tensor(Dtype::kBf16, shape);
  std::fill_n(tensor.as<strobe::Bf16>(), tensor.view().size(), strobe::Bf16(value));
  return tensor;
}

int main() {
  // The page table after this step's tokens: request 0 owns pages 3 and 0, request 1 owns page 6.
  std::vector<std::int32_t> kv_indptr = {0, 2, 3}, kv_indices = {3, 0, 6}, last_page_len = {4, 5};
  std::vector<std::int32_t> qo_indptr = {0, 1, 6}, seq_lens = {20, 5};
  const Tensor k_cache = filled({kPages, kKvHeads, kPageSize, kHeadDim}, 0.25f);
  const Tensor v_cache = filled({kPages, kKvHeads, kPageSize, kHeadDim}, 2.0f);

  // What the layer's projection made of the step's tokens. Their keys and values go into the cache first.
  const Tensor q = filled({kTokens, kQoHeads, kHeadDim}, 1.0f);
  const Tensor k = filled({kTokens, kKvHeads, kHeadDim}, 0.5f),
               v = filled({kTokens, kKvHeads, kHeadDim}, 2.0f);
  std::vector<std::int32_t> batch_indices(kTokens), positions(kTokens);
  strobe::get_batch_indices_positions({.append_indptr = TensorView::of(qo_indptr),
                                       .seq_lens = TensorView::of(seq_lens),
                                       .batch_indices = TensorView::of(batch_indices),
                                       .positions = TensorView::of(positions)});
  strobe::append_paged_kv_cache({.append_key = k,
                                 .append_value = v,
                                 .batch_indices = TensorView::of(batch_indices),
                                 .positions = TensorView::of(positions),
                                 .k_cache = k_cache,
                                 .v_cache = v_cache,
                                 .kv_indices = TensorView::of(kv_indices),
                                 .kv_indptr = TensorView::of(kv_indptr),
                                 .kv_last_page_len = TensorView::of(last_page_len),
                                 .kv_layout = KvLayout::kHnd});

  // One plan serves every layer of the step; each layer runs it on its own cache.
  strobe::BatchAttention attention;
  attention.plan({.qo_indptr = TensorView::of(qo_indptr),
                  .kv_indptr = TensorView::of(kv_indptr),
                  .kv_indices = TensorView::of(kv_indices),
                  .last_page_len = TensorView::of(last_page_len),
                  .num_qo_heads = kQoHeads,
                  .num_kv_heads = kKvHeads,
                  .head_dim_qk = kHeadDim,
                  .page_size = kPageSize,
                  .kv_layout = KvLayout::kHnd,
                  .options = {.mask = MaskMode::kCausal}});
  const Tensor out = filled({kTokens, kQoHeads, kHeadDim}, 0.0f);
  attention.run({.q = q, .k = k_cache, .v = v_cache, .out = out});

  // Every value row is 2, so every output is: up to the rounding of bf16.
  const auto* begin = out.as<strobe::Bf16>();
  const bool ok = std::all_of(begin, begin + out.view().size(),
                              [](strobe::Bf16 x) { return std::abs(static_cast<float>(x) - 2.0f) < 0.02f; });
  std::printf("%d tokens attended: %s\n", kTokens, ok ? "ok" : "wrong");
  return ok ? 0 : 1;
}
