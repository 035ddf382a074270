#include "ops/page_places.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace strobe::ops {
namespace {

using op::Axes;
using op::Operator;
using op::reject;

const std::int32_t* values(const TensorView& view) { return view.as<const std::int32_t>(); }

// Says what is wrong with a token that check_places has found.
[[noreturn]] void reject_token(const Operator& op, const Places& places, const Axes& axes,
                               std::int64_t token) {
  const std::int32_t request = values(places.batch_indices)[token],
                     position = values(places.positions)[token];
  if (request < -1 || request >= axes[kBatchSize])
    reject(op, "batch_indices", "expected values in [0, batch_size = {}) or -1, got batch_indices[{}] = {}",
           axes[kBatchSize], token, request);
  if (position < 0)
    reject(op, "positions", "expected values of at least 0, or -1, got positions[{}] = {}", token, position);
  const std::int32_t *kv_indptr = values(places.kv_indptr), *kv_indices = values(places.kv_indices);
  const std::int64_t pages = kv_indptr[request + 1] - kv_indptr[request], page = position / axes[kPageSize];
  if (page >= pages)
    reject(op, "positions",
           "expected values below {} for request {} (its {} pages of {}), got positions[{}] = {}",
           pages * axes[kPageSize], request, pages, axes[kPageSize], token, position);
  const std::int64_t entry = kv_indptr[request] + page;
  reject(op, "kv_indices",
         "expected pages in [0, num_pages = {}), got kv_indices[{}] = {} (page {} of request {}, where token "
         "{} goes)",
         axes[kNumPages], entry, kv_indices[entry], page, request, token);
}

// A share of `total` for each request: [share(r), share(r + 1)).
std::int64_t share(const Axes& axes, std::int64_t total, std::int64_t request) {
  return request * total / std::max<std::int64_t>(1, axes[kBatchSize]);
}
std::int64_t pages_of(const Axes& axes, std::int64_t request) {
  return share(axes, axes[kNumKvIndices], request + 1) - share(axes, axes[kNumKvIndices], request);
}
std::int64_t last_page_len_of(const Axes& axes, std::int64_t request) {
  return pages_of(axes, request) == 0 ? 0 : axes[kPageSize] - request % axes[kPageSize];
}

// Calls f(request, its first token, the token after its last).
template <class F>
void for_each_request(const Axes& axes, F f) {
  for (std::int64_t r = 0; r < axes[kBatchSize]; ++r)
    f(r, share(axes, axes[kNnz], r), share(axes, axes[kNnz], r + 1));
}

}  // namespace

void check_last_page_len(const Operator& op, const TensorView& kv_indptr, const TensorView& kv_last_page_len,
                         std::int64_t page_size) {
  const std::int32_t *indptr = values(kv_indptr), *length = values(kv_last_page_len);
  for (std::int64_t r = 0; r < kv_last_page_len.shape[0]; ++r) {
    const std::int64_t pages = static_cast<std::int64_t>(indptr[r + 1]) - indptr[r];
    if (pages < 0)
      reject(op, "kv_indptr", "expected values that do not decrease, got kv_indptr[{}] = {} after {}", r + 1,
             indptr[r + 1], indptr[r]);
    const int lowest = pages > 0 ? 1 : 0;
    if (length[r] < lowest || length[r] > page_size)
      reject(op, "kv_last_page_len",
             "expected a value in [{}, page_size = {}] for request {} with {} pages, got {}", lowest,
             page_size, r, pages, length[r]);
  }
}

void check_places(const Operator& op, const Places& places, const Axes& axes) {
  if (axes[kPageSize] < 1 || axes[kPageSize] > std::numeric_limits<std::int32_t>::max())
    reject(op, "page_size", "expected at least 1 token a page (and an i32), got {}", axes[kPageSize]);
  if (places.kv_indptr.device.type != DeviceType::kCpu) return;
  const std::int32_t *kv_indptr = values(places.kv_indptr), *kv_indices = values(places.kv_indices);
  const std::int32_t *batch_indices = values(places.batch_indices), *positions = values(places.positions);
  const std::int64_t batch_size = axes[kBatchSize], num_pages = axes[kNumPages];
  if (kv_indptr[0] < 0) reject(op, "kv_indptr", "expected kv_indptr[0] of at least 0, got {}", kv_indptr[0]);
  check_last_page_len(op, places.kv_indptr, places.kv_last_page_len, axes[kPageSize]);
  if (kv_indptr[batch_size] > axes[kNumKvIndices])
    reject(op, "kv_indptr", "expected values up to num_kv_indices = {}, got kv_indptr[{}] = {}",
           axes[kNumKvIndices], batch_size, kv_indptr[batch_size]);
  const auto page_size = static_cast<std::int32_t>(axes[kPageSize]);
  std::int32_t checked_request = -1,
               checked_begin = 0;  // the page of the last token checked is good from this position on
  for (std::int64_t token = 0; token < axes[kNnz]; ++token) {
    const std::int32_t request = batch_indices[token], position = positions[token];
    if (request == checked_request && position >= checked_begin && position - checked_begin < page_size)
      continue;
    if (request < -1 || request >= batch_size || position < -1) reject_token(op, places, axes, token);
    if (request == -1 || position == -1) continue;
    const std::int32_t page = position / page_size;
    if (page >= kv_indptr[request + 1] - kv_indptr[request]) reject_token(op, places, axes, token);
    const std::int32_t number = kv_indices[kv_indptr[request] + page];
    if (number < 0 || number >= num_pages) reject_token(op, places, axes, token);
    checked_request = request;
    checked_begin = page * page_size;
  }
}

void fill_batch_indices(const TensorView& view, const Axes& axes) {
  for_each_request(axes, [&](std::int64_t request, std::int64_t begin, std::int64_t end) {
    std::fill(view.as<std::int32_t>() + begin, view.as<std::int32_t>() + end,
              static_cast<std::int32_t>(request));
  });
}

void fill_positions(const TensorView& view, const Axes& axes) {
  for_each_request(axes, [&](std::int64_t request, std::int64_t begin, std::int64_t end) {
    const std::int64_t kv_len = std::max<std::int64_t>(0, pages_of(axes, request) - 1) * axes[kPageSize] +
                                last_page_len_of(axes, request);
    for (std::int64_t t = begin; t < end; ++t)
      view.as<std::int32_t>()[t] = static_cast<std::int32_t>(kv_len - (end - t));
  });
}

void fill_kv_indices(const TensorView& view, const Axes& axes, op::Random& random) {
  std::vector<std::int32_t> pages(static_cast<std::size_t>(std::max<std::int64_t>(1, axes[kNumPages])));
  std::iota(pages.begin(), pages.end(), 0);
  for (std::size_t i = pages.size(); i > 1; --i)
    std::swap(pages[i - 1],
              pages[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(i) - 1))]);
  for (std::int64_t i = 0; i < view.shape[0]; ++i)
    view.as<std::int32_t>()[i] = pages[static_cast<std::size_t>(i) % pages.size()];
}

void fill_kv_indptr(const TensorView& view, const Axes& axes) {
  for (std::int64_t r = 0; r < view.shape[0]; ++r)
    view.as<std::int32_t>()[r] = static_cast<std::int32_t>(share(axes, axes[kNumKvIndices], r));
}

void fill_kv_last_page_len(const TensorView& view, const Axes& axes) {
  for (std::int64_t r = 0; r < view.shape[0]; ++r)
    view.as<std::int32_t>()[r] = static_cast<std::int32_t>(last_page_len_of(axes, r));
}

}  // namespace strobe::ops
