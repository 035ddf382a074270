#include "reference/attention.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "core/read.h"
#include "strobe/threads.h"

namespace strobe::reference {
namespace {

using Vector = std::vector<double>;

// A batch in the one form that the reference works on.
struct Batch {
  TensorView q;  // [nnz_qo, num_qo_heads, head_dim_qk]
  TensorView k, v;
  std::vector<std::int32_t> qo_indptr, kv_len;
  // Elements from k's (v's) data to the row of a request's KV token and head.
  std::function<std::int64_t(const TensorView& cache, std::size_t request, std::int64_t token,
                             std::int64_t head)>
      row_offset;
  TensorView custom_mask, alibi_slopes, sinks;
  TensorView q_scales, k_scales, v_scales;      // by head
  std::vector<std::int64_t> custom_mask_begin;  // bytes
  AttentionOptions options;
  std::int64_t num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo;
};

Vector row(const void* data, Dtype dtype, std::int64_t offset, std::int64_t size) {
  Vector values(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i)
    values[static_cast<std::size_t>(i)] = read_element(data, dtype, offset + i);
  return values;
}

// Turns pair i of a row by position * frequency(i).
void rope(Vector& x, double position, const AttentionOptions& options) {
  const std::vector<float> inv_freq = rope_inv_freq(static_cast<int>(x.size()), options.rope);
  const std::size_t half = x.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    double& a = x[options.rope_interleave ? 2 * i : i];
    double& b = x[options.rope_interleave ? 2 * i + 1 : i + half];
    const double angle = position * static_cast<double>(inv_freq[i]), c = std::cos(angle),
                 s = std::sin(angle);
    const double turned = a * c - b * s;
    b = b * c + a * s;
    a = turned;
  }
}

double dot(const Vector& a, const double* b) {
  double sum[4] = {};  // four chains, so that the processor need not wait for each sum
  std::size_t i = 0;
  for (; i + 4 <= a.size(); i += 4)
    for (std::size_t u = 0; u < 4; ++u) sum[u] += a[i + u] * b[i + u];
  for (; i < a.size(); ++i) sum[0] += a[i] * b[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// The KV rows of one request and KV head.
struct KvRows {
  Vector k, v;  // [kv_len, head_dim]
};

KvRows kv_rows(const Batch& batch, std::size_t request, std::int64_t kv_head) {
  KvRows rows;
  for (std::int64_t j = 0; j < batch.kv_len[request]; ++j) {
    Vector k =
        row(batch.k.data, batch.k.dtype, batch.row_offset(batch.k, request, j, kv_head), batch.head_dim_qk);
    if (batch.options.pos_encoding == PosEncoding::kRope) rope(k, static_cast<double>(j), batch.options);
    rows.k.insert(rows.k.end(), k.begin(), k.end());
    const Vector v =
        row(batch.v.data, batch.v.dtype, batch.row_offset(batch.v, request, j, kv_head), batch.head_dim_vo);
    rows.v.insert(rows.v.end(), v.begin(), v.end());
  }
  return rows;
}

double alibi_slope(const Batch& batch, std::int64_t head) {
  if (batch.alibi_slopes.given()) return read(batch.alibi_slopes, head);
  if (batch.options.pos_encoding != PosEncoding::kAlibi) return 0;
  return static_cast<double>(
      alibi_slopes(static_cast<int>(batch.num_qo_heads))[static_cast<std::size_t>(head)]);
}

bool attends(const Batch& batch, std::size_t request, std::int64_t i, std::int64_t j) {
  const std::int64_t kv_len = batch.kv_len[request];
  const std::int64_t position = kv_len - (batch.qo_indptr[request + 1] - batch.qo_indptr[request]) + i;
  if (batch.options.window_left >= 0 && j < position - batch.options.window_left) return false;
  switch (batch.options.mask) {
    case MaskMode::kNone:
      return true;
    case MaskMode::kCausal:
      return j <= position;
    case MaskMode::kCustom: {
      const std::int64_t bit = i * kv_len + j;
      return batch.custom_mask.as<std::uint8_t>()[batch.custom_mask_begin[request] + bit / 8] >> (bit % 8) &
             1;
    }
  }
  return false;
}

// A head's factor beside that of the whole tensor.
double head_scale(const TensorView& scales, std::int64_t head) {
  const double scale = scales.given() ? read(scales, head) : 1;
  return scale > 0 ? scale : NAN;
}

// out [head_dim_vo] and lse of query token i and query head h of a request.
void attend(const Batch& batch, std::size_t request, std::int64_t i, std::int64_t head, const KvRows& rows,
            double* out, double* lse) {
  const AttentionOptions& options = batch.options;
  const std::int64_t kv_len = batch.kv_len[request];
  const std::int64_t token = batch.qo_indptr[request] + i;
  const std::int64_t position = kv_len - (batch.qo_indptr[request + 1] - batch.qo_indptr[request]) + i;
  Vector q = row(batch.q.data, batch.q.dtype, token * batch.q.strides[0] + head * batch.q.strides[1],
                 batch.head_dim_qk);
  if (options.pos_encoding == PosEncoding::kRope) rope(q, static_cast<double>(position), options);
  const double sm_scale = options.sm_scale != 0 ? static_cast<double>(options.sm_scale)
                                                : 1 / std::sqrt(static_cast<double>(batch.head_dim_qk));
  const std::int64_t kv_head = head / (batch.num_qo_heads / batch.num_kv_heads);
  const double scale = sm_scale * static_cast<double>(options.q_scale) *
                       static_cast<double>(options.k_scale) * head_scale(batch.q_scales, head) *
                       head_scale(batch.k_scales, kv_head);
  const double v_scale = static_cast<double>(options.v_scale) * head_scale(batch.v_scales, kv_head);
  const double slope = alibi_slope(batch, head), cap = static_cast<double>(options.logits_soft_cap);

  Vector x;
  std::vector<std::int64_t> attended;
  for (std::int64_t j = 0; j < kv_len; ++j) {
    if (!attends(batch, request, i, j)) continue;
    double logit =
        dot(q, rows.k.data() + j * batch.head_dim_qk) * scale + slope * static_cast<double>(j - position);
    if (cap > 0) logit = cap * std::tanh(logit / cap);
    x.push_back(logit);
    attended.push_back(j);
  }
  const double sink = batch.sinks.given() ? read(batch.sinks, head) : -INFINITY;
  double most = sink;
  for (double logit : x) most = std::max(most, logit);
  if (most == -INFINITY) most = 0;
  double sum = std::exp(sink - most);
  for (std::size_t n = 0; n < x.size(); ++n) {
    const double weight = std::exp(x[n] - most);
    sum += weight;
    for (std::int64_t d = 0; d < batch.head_dim_vo; ++d)
      out[d] += weight * rows.v[static_cast<std::size_t>(attended[n] * batch.head_dim_vo + d)];
  }
  for (std::int64_t d = 0; d < batch.head_dim_vo; ++d) out[d] = x.empty() ? 0 : out[d] / sum * v_scale;
  *lse = (most + std::log(sum)) * std::numbers::log2e;
}

// Fills the expected rows (query tokens) of out and, when there is one, lse.
void attention(const Batch& batch, op::Expected& expected) {
  struct Task {
    std::size_t request;
    std::int64_t kv_head;
    std::vector<std::size_t> rows;  // indices into the expected rows
  };
  op::ExpectedOutput& out = expected[0];
  std::vector<Task> tasks;
  for (std::size_t request = 0; request < batch.kv_len.size(); ++request) {
    std::vector<std::size_t> rows;
    for (std::size_t r = 0; r < out.rows.size(); ++r)
      if (out.rows[r] >= batch.qo_indptr[request] && out.rows[r] < batch.qo_indptr[request + 1])
        rows.push_back(r);
    for (std::int64_t kv_head = 0; kv_head < batch.num_kv_heads && !rows.empty(); ++kv_head)
      tasks.push_back({request, kv_head, rows});
  }
  const std::int64_t group = batch.num_qo_heads / batch.num_kv_heads;
  executor().run(static_cast<int>(tasks.size()), executor().max_workers(), [&](int index, int) {
    const Task& task = tasks[static_cast<std::size_t>(index)];
    const KvRows rows = kv_rows(batch, task.request, task.kv_head);
    for (std::size_t r : task.rows)
      for (std::int64_t head = task.kv_head * group; head < (task.kv_head + 1) * group; ++head) {
        const std::size_t at =
            r * static_cast<std::size_t>(batch.num_qo_heads) + static_cast<std::size_t>(head);
        double lse;
        attend(batch, task.request, out.rows[r] - batch.qo_indptr[task.request], head, rows,
               out.values.data() + at * static_cast<std::size_t>(batch.head_dim_vo), &lse);
        if (expected.size() > 1) expected[1].values[at] = lse;
      }
  });
}

std::vector<std::int32_t> copy(const TensorView& view) {
  return {view.as<std::int32_t>(), view.as<std::int32_t>() + view.shape[0]};
}

// Dense KV of one request; token and head axes as the layout says.
template <class Args>
Batch single(const Args& args) {
  Batch batch;
  const int token = args.kv_layout == KvLayout::kHnd ? 1 : 0;
  batch.k = args.k;
  batch.v = args.v;
  batch.kv_len = {static_cast<std::int32_t>(args.k.shape[static_cast<std::size_t>(token)])};
  batch.row_offset = [token](const TensorView& cache, std::size_t, std::int64_t j, std::int64_t head) {
    return j * cache.strides[static_cast<std::size_t>(token)] +
           head * cache.strides[static_cast<std::size_t>(1 - token)];
  };
  batch.alibi_slopes = args.alibi_slopes;
  batch.sinks = args.sinks;
  batch.options = args.options;
  batch.num_kv_heads = args.k.shape[static_cast<std::size_t>(1 - token)];
  batch.head_dim_qk = args.k.shape[2];
  batch.head_dim_vo = args.v.shape[2];
  return batch;
}

}  // namespace

void attention(const SinglePrefillArgs& args, op::Expected& expected) {
  Batch batch = single(args);
  batch.q = args.q;
  batch.num_qo_heads = args.q.shape[1];
  batch.qo_indptr = {0, static_cast<std::int32_t>(args.q.shape[0])};
  batch.custom_mask = args.custom_mask;
  batch.custom_mask_begin = {0};
  batch.q_scales = args.q_scales;
  batch.k_scales = args.k_scales;
  batch.v_scales = args.v_scales;
  attention(batch, expected);
}

// The outputs' outermost axis is the head: the one token is computed whole, and the sampled heads taken from
// it.
void attention(const SingleDecodeArgs& args, op::Expected& expected) {
  Batch batch = single(args);
  batch.num_qo_heads = args.q.shape[0];
  const std::int64_t strides[] = {0, args.q.strides[0], args.q.strides[1]};
  batch.q = TensorView(args.q.data, args.q.dtype,
                       std::array<std::int64_t, 3>{1, args.q.shape[0], args.q.shape[1]}, strides);
  batch.qo_indptr = {0, 1};
  const auto heads = static_cast<std::size_t>(batch.num_qo_heads),
             dim = static_cast<std::size_t>(batch.head_dim_vo);
  op::Expected token(2);
  token[0].rows = token[1].rows = {0};
  token[0].values.resize(heads * dim);
  token[1].values.resize(heads);
  attention(batch, token);
  for (std::size_t r = 0; r < expected[0].rows.size(); ++r) {
    const auto head = static_cast<std::size_t>(expected[0].rows[r]);
    std::copy_n(token[0].values.begin() + static_cast<std::ptrdiff_t>(head * dim), dim,
                expected[0].values.begin() + static_cast<std::ptrdiff_t>(r * dim));
    if (expected.size() > 1) expected[1].values[r] = token[1].values[head];
  }
}

void attention(const ops::BatchAttentionArgs& args, op::Expected& expected) {
  Batch batch;
  batch.q = args.run.q;
  batch.k = args.run.k;
  batch.v = args.run.v;
  batch.qo_indptr = copy(args.plan.qo_indptr);
  ops::kv_lengths(args.plan, batch.kv_len);
  const bool hnd = args.plan.kv_layout == KvLayout::kHnd;
  const std::size_t page_axes = args.paged() ? 1 : 0, token = page_axes + (hnd ? 1 : 0),
                    head_axis = page_axes + (hnd ? 0 : 1);
  const std::vector<std::int32_t> indptr = copy(args.plan.kv_indptr);
  const std::vector<std::int32_t> pages =
      args.paged() ? copy(args.plan.kv_indices) : std::vector<std::int32_t>();
  const std::int64_t page_size = args.plan.page_size;
  batch.row_offset = [=](const TensorView& cache, std::size_t request, std::int64_t j, std::int64_t head) {
    const std::int64_t in_head = head * cache.strides[head_axis];
    if (page_size == 0) return (indptr[request] + j) * cache.strides[token] + in_head;
    const std::int64_t page = pages[static_cast<std::size_t>(indptr[request] + j / page_size)];
    return page * cache.strides[0] + j % page_size * cache.strides[token] + in_head;
  };
  batch.custom_mask = args.plan.custom_mask;
  if (args.plan.custom_mask_indptr.given())
    for (std::int32_t bytes : copy(args.plan.custom_mask_indptr)) batch.custom_mask_begin.push_back(bytes);
  batch.alibi_slopes = args.plan.alibi_slopes;
  batch.sinks = args.run.sinks;
  batch.q_scales = args.run.q_scales;
  batch.k_scales = args.run.k_scales;
  batch.v_scales = args.run.v_scales;
  batch.options = args.plan.options;
  batch.options.q_scale *= args.run.q_scale;
  batch.options.k_scale *= args.run.k_scale;
  batch.options.v_scale *= args.run.v_scale;
  batch.num_qo_heads = args.plan.num_qo_heads;
  batch.num_kv_heads = args.plan.num_kv_heads;
  batch.head_dim_qk = args.plan.head_dim_qk;
  batch.head_dim_vo = args.head_dim_vo();
  attention(batch, expected);
}

op::Accuracy attention_accuracy(Dtype q, std::int64_t terms, bool lse, DeviceType device) {
  const bool on_cpu = device == DeviceType::kCpu;
  if (lse)
    return {.intermediate = q == Dtype::kE4m3 && !on_cpu ? Dtype::kF16 : Dtype::kF32, .reduction = terms};
  return {.intermediate = q == Dtype::kF16 && on_cpu ? Dtype::kF32 : q, .reduction = terms};
}

}  // namespace strobe::reference
