#include "reference/page.h"

#include <algorithm>
#include <cmath>

#include "core/read.h"
#include "reference/saturate.h"

namespace strobe::reference {
namespace {

std::int64_t read_index(const TensorView& view, std::int64_t i) {
  return static_cast<std::int64_t>(read(view, i));
}

double stored_value(double x, Dtype from, Dtype to, double scale) {
  if (from == to || (to == Dtype::kE5m2 && std::isinf(x))) return x;
  return saturate(x / scale, to);
}

// The sampled pages of one cache: what they hold now, then the tokens that go there. tokens [nnz, heads,
// dim], cache [num_pages, page_size, heads, dim] in any order of memory; `hnd` says how the expected values
// are ordered.
template <class Args>
void append(const Args& args, const TensorView& tokens, const TensorView& cache, bool hnd, float scale,
            op::ExpectedOutput& output) {
  const std::int64_t page_size = cache.shape[1], heads = cache.shape[2], dim = cache.shape[3];
  const auto value_of = [&](std::size_t row, std::int64_t slot, std::int64_t head,
                            std::int64_t j) -> double& {
    const std::int64_t line = hnd ? head * page_size + slot : slot * heads + head;
    return output.values[row * static_cast<std::size_t>(page_size * heads * dim) +
                         static_cast<std::size_t>(line * dim + j)];
  };
  for (std::size_t row = 0; row < output.rows.size(); ++row)
    for (std::int64_t slot = 0; slot < page_size; ++slot)
      for (std::int64_t head = 0; head < heads; ++head)
        for (std::int64_t j = 0; j < dim; ++j)
          value_of(row, slot, head, j) = read(cache, output.rows[row], slot, head, j);

  for (std::int64_t token = 0; token < tokens.shape[0]; ++token) {
    const std::int64_t request = read_index(args.batch_indices, token),
                       position = read_index(args.positions, token);
    if (request < 0 || position < 0) continue;
    const std::int64_t page =
        read_index(args.kv_indices, read_index(args.kv_indptr, request) + position / page_size);
    const auto found = std::find(output.rows.begin(), output.rows.end(), page);
    if (found == output.rows.end()) continue;
    for (std::int64_t head = 0; head < heads; ++head)
      for (std::int64_t j = 0; j < dim; ++j)
        value_of(static_cast<std::size_t>(found - output.rows.begin()), position % page_size, head, j) =
            stored_value(read(tokens, token, head, j), tokens.dtype, cache.dtype, static_cast<double>(scale));
  }
}

// [a, b, …, dim] as [a, b, …, 1 head, dim].
TensorView with_one_head(TensorView view) {
  const auto last = static_cast<std::size_t>(view.rank - 1);
  view.shape[last + 1] = view.shape[last];
  view.strides[last + 1] = view.strides[last];
  view.shape[last] = 1;
  view.strides[last] = 0;
  ++view.rank;
  return view;
}

}  // namespace

void append_paged_kv_cache(const AppendPagedKvCacheArgs& args, op::Expected& expected) {
  const bool hnd = args.kv_layout == KvLayout::kHnd;
  const auto as_nhd = [&](const TensorView& cache) { return hnd ? cache.permute({0, 2, 1, 3}) : cache; };
  append(args, args.append_key, as_nhd(args.k_cache), hnd, args.k_scale, expected[0]);
  append(args, args.append_value, as_nhd(args.v_cache), hnd, args.v_scale, expected[1]);
}

void append_paged_mla_kv_cache(const AppendPagedMlaKvCacheArgs& args, op::Expected& expected) {
  append(args, with_one_head(args.append_ckv), with_one_head(args.ckv_cache), false, args.ckv_scale,
         expected[0]);
  append(args, with_one_head(args.append_kpe), with_one_head(args.kpe_cache), false, args.kpe_scale,
         expected[1]);
}

void get_batch_indices_positions(const BatchIndicesPositionsArgs& args, op::Expected& expected) {
  const std::int64_t batch_size = args.seq_lens.shape[0];
  for (int output = 0; output < 2; ++output)
    for (std::size_t i = 0; i < expected[static_cast<std::size_t>(output)].rows.size(); ++i) {
      const std::int64_t token = expected[static_cast<std::size_t>(output)].rows[i];
      double value = -1;
      for (std::int64_t r = 0; r < batch_size; ++r) {
        const std::int64_t begin = read_index(args.append_indptr, r),
                           end = read_index(args.append_indptr, r + 1);
        if (token >= begin && token < end)
          value = static_cast<double>(output == 0 ? r : read_index(args.seq_lens, r) - (end - token));
      }
      expected[static_cast<std::size_t>(output)].values[i] = value;
    }
}

void get_seq_lens(const SeqLensArgs& args, op::Expected& expected) {
  for (std::size_t i = 0; i < expected[0].rows.size(); ++i) {
    const std::int64_t r = expected[0].rows[i];
    const std::int64_t pages = read_index(args.kv_indptr, r + 1) - read_index(args.kv_indptr, r);
    expected[0].values[i] = static_cast<double>(std::max<std::int64_t>(pages - 1, 0) * args.page_size +
                                                read_index(args.kv_last_page_len, r));
  }
}

}  // namespace strobe::reference
