// Where appended tokens go: the index arrays that the append operators share, their checks, and the batch
// that benchmarks append.
#pragma once

#include "op/declare.h"
#include "op/validate.h"

namespace strobe::ops {

// Numbers of the axes that declare_places declares; the operators' own follow.
inline constexpr int kNnz = 0, kBatchSize = 1, kNumPages = 2, kPageSize = 3, kNumKvIndices = 4;

struct Places {
  const TensorView& batch_indices;
  const TensorView& positions;
  const TensorView& kv_indices;
  const TensorView& kv_indptr;
  const TensorView& kv_last_page_len;
};

template <class Args>
Places places_of(const Args& args) {
  return {args.batch_indices, args.positions, args.kv_indices, args.kv_indptr, args.kv_last_page_len};
}

// Rejects a kv_indptr that decreases and a kv_last_page_len outside [1, page_size] (or 0, for a request
// without pages).
void check_last_page_len(const op::Operator& op, const TensorView& kv_indptr,
                         const TensorView& kv_last_page_len, std::int64_t page_size);

// Rejects every token that would go outside its request's pages or outside the cache. Of kv_indices only the
// entries that tokens use are read: a batch may hold far more pages than it appends to.
void check_places(const op::Operator& op, const Places& places, const op::Axes& axes);

// A batch whose requests share pages and tokens evenly, whose last pages are filled to different lengths, and
// whose new tokens are the last ones of each request. Pages come in random order, each once as long as there
// are enough.
void fill_batch_indices(const TensorView& view, const op::Axes& axes);
void fill_positions(const TensorView& view, const op::Axes& axes);
void fill_kv_indices(const TensorView& view, const op::Axes& axes, op::Random& random);
void fill_kv_indptr(const TensorView& view, const op::Axes& axes);
void fill_kv_last_page_len(const TensorView& view, const op::Axes& axes);

template <class Args>
op::Declare<Args> declare_append(const char* name, const char* summary) {
  op::Declare<Args> declare(name, "page", summary);
  declare.function(std::string("strobe::") + name)
      .axis("nnz", 4096, "tokens to append, of all requests")
      .axis("batch_size", 16, "requests")
      .axis("num_pages", 1024, "pages of the cache")
      .axis("page_size", 16, "tokens of a page")
      .axis("num_kv_indices", 1024, "pages of all requests");
  return declare;
}

template <class Args>
void declare_tokens(op::Declare<Args>& declare) {
  using op::Axes, op::Random;
  declare
      .template input<&Args::batch_indices>("batch_indices", "nnz", Dtype::kI32,
                                            "request of each token; -1: padding")
      .dense()
      .fill([](const TensorView& view, const Axes& axes, const Args&, Random&) {
        fill_batch_indices(view, axes);
      })
      .template input<&Args::positions>("positions", "nnz", Dtype::kI32,
                                        "position of each token in its request; -1: padding")
      .dense()
      .fill(
          [](const TensorView& view, const Axes& axes, const Args&, Random&) { fill_positions(view, axes); });
}

template <class Args>
void declare_pages(op::Declare<Args>& declare) {
  using op::Axes, op::Random;
  declare
      .template input<&Args::kv_indices>("kv_indices", "num_kv_indices", Dtype::kI32,
                                         "pages of each request, in order")
      .dense()
      .fill([](const TensorView& view, const Axes& axes, const Args&, Random& random) {
        fill_kv_indices(view, axes, random);
      })
      .template input<&Args::kv_indptr>("kv_indptr", "batch_size+1", Dtype::kI32,
                                        "each request's range of kv_indices")
      .dense()
      .fill(
          [](const TensorView& view, const Axes& axes, const Args&, Random&) { fill_kv_indptr(view, axes); })
      .template input<&Args::kv_last_page_len>("kv_last_page_len", "batch_size", Dtype::kI32,
                                               "tokens in each request's last page")
      .dense()
      .fill([](const TensorView& view, const Axes& axes, const Args&, Random&) {
        fill_kv_last_page_len(view, axes);
      })
      .rule("batch_indices are in [0, batch_size) or -1; positions lie within the request's pages or are -1")
      .rule("the page of every token is in [0, num_pages)")
      .rule("kv_indptr does not decrease and stays in [0, num_kv_indices]")
      .rule("kv_last_page_len is in [1, page_size], or 0 for a request without pages")
      .rule("no two tokens name the same slot (not checked)");
}

}  // namespace strobe::ops
