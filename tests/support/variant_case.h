// Attention variants with their arguments and what they should compute, in FP64.
#pragma once

#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <numbers>
#include <string>
#include <vector>

#include "core/read.h"
#include "op/check.h"
#include "op/routine.h"
#include "op/validate.h"
#include "ops/attention_args.h"
#include "reference/attention.h"
#include "strobe/attention.h"

namespace strobe::test {

// Where a pair is.
struct PairIndex {
  int batch_idx, qo_idx, kv_idx, qo_head_idx, kv_head_idx, qo_len, kv_len;
  int position() const { return kv_len - qo_len + qo_idx; }
};
using Row = std::vector<double>;

// Hooks in FP64; `logits` gets q . k * sm_scale.
struct VariantReference {
  bool softmax = true;
  std::function<double(const PairIndex& at, double logits)> logits = [](const PairIndex&, double x) { return x; };
  std::function<bool(const PairIndex& at)> mask = [](const PairIndex&) { return true; };
  std::function<Row(const PairIndex& at, const Row& q)> query = [](const PairIndex&, const Row& q) { return q; };
  std::function<Row(const PairIndex& at, const Row& k)> key = [](const PairIndex&, const Row& k) { return k; };
  std::function<double(const PairIndex& at, double x, int dim)> output = [](const PairIndex&, double x, int) { return x; };
  // One more logit of a query head, without a value.
  std::function<double(int head)> sink = [](int) { return -INFINITY; };
};

struct VariantCase {
  AttentionVariantText text;
  std::vector<TensorView> tensors;
  std::vector<double> scalars;
  VariantReference reference;
};

inline std::string example_text(const std::string& file) {
  std::ifstream in(STROBE_SOURCE_DIR "/examples/variants/" + file);
  EXPECT_TRUE(in) << file;
  return {std::istreambuf_iterator<char>(in), {}};
}

// Reads rows of q, k and v wherever a batch has them.
class BatchRows {
 public:
  explicit BatchRows(const ops::BatchAttentionArgs& args) : args_(args) { ops::kv_lengths(args.plan, kv_len); }
  int batch_size() const { return static_cast<int>(kv_len.size()); }
  int first_query(int request) const { return args_.plan.qo_indptr.as<std::int32_t>()[request]; }
  int qo_len(int request) const { return first_query(request + 1) - first_query(request); }

  Row query(int request, int token, int head) const {
    return row(args_.run.q.select(0, first_query(request) + token).select(0, head));
  }
  Row kv(const TensorView& cache, int request, int token, int head) const {
    const bool hnd = args_.plan.kv_layout == KvLayout::kHnd;
    const int first = args_.plan.kv_indptr.as<std::int32_t>()[request];
    if (!args_.paged()) return row(cache.select(hnd ? 1 : 0, first + token).select(0, head));
    const int page = args_.plan.kv_indices.as<std::int32_t>()[first + token / args_.plan.page_size];
    return row(cache.select(0, page).select(hnd ? 1 : 0, token % args_.plan.page_size).select(0, head));
  }
  std::vector<std::int32_t> kv_len;

 private:
  static Row row(const TensorView& view) {
    Row values;
    for (std::int64_t i = 0; i < view.shape[0]; ++i) values.push_back(read(view, i));
    return values;
  }
  const ops::BatchAttentionArgs& args_;
};

inline bool plan_lets_through(const AttentionOptions& options, const PairIndex& at) {
  return (options.mask != MaskMode::kCausal || at.kv_idx <= at.position()) &&
         (options.window_left < 0 || at.kv_idx >= at.position() - options.window_left);
}

// out (head_dim_vo elements) and lse of one row.
inline double attend_in_fp64(const ops::BatchAttentionArgs& args, const BatchRows& rows, const VariantReference& hooks,
                             PairIndex at, double* out) {
  const AttentionOptions& options = args.plan.options;
  const double sm_scale = options.sm_scale != 0 ? static_cast<double>(options.sm_scale)
                                                : 1 / std::sqrt(static_cast<double>(args.plan.head_dim_qk));
  const Row q = hooks.query(at, rows.query(at.batch_idx, at.qo_idx, at.qo_head_idx));
  std::vector<double> logits;
  std::vector<int> tokens;
  for (at.kv_idx = 0; at.kv_idx < at.kv_len; ++at.kv_idx) {
    if (!plan_lets_through(options, at) || !hooks.mask(at)) continue;
    const Row k = hooks.key(at, rows.kv(args.run.k, at.batch_idx, at.kv_idx, at.kv_head_idx));
    double product = 0;
    for (std::size_t d = 0; d < k.size(); ++d) product += q[d] * k[d];
    logits.push_back(hooks.logits(at, product * sm_scale * static_cast<double>(options.q_scale * options.k_scale)));
    tokens.push_back(at.kv_idx);
  }
  const double sink = hooks.sink(at.qo_head_idx);
  double most = sink, sum = 0;
  for (double x : logits) most = std::max(most, x);
  if (hooks.softmax && sink > -INFINITY) sum = std::exp(sink - most);
  for (std::size_t n = 0; n < logits.size(); ++n) {
    const double weight = hooks.softmax ? std::exp(logits[n] - most) : logits[n];
    sum += weight;
    const Row v = rows.kv(args.run.v, at.batch_idx, tokens[n], at.kv_head_idx);
    for (std::size_t d = 0; d < v.size(); ++d) out[d] += weight * v[d];
  }
  const bool empty = hooks.softmax && logits.empty() && sink == -INFINITY;
  for (int d = 0; d < args.head_dim_vo(); ++d)
    if (!empty)
      out[d] = hooks.output(at, out[d] / (hooks.softmax ? sum : 1) * static_cast<double>(options.v_scale), d);
  return hooks.softmax ? (most + std::log(sum)) * std::numbers::log2e : NAN;
}

inline op::Expected expect_variant(const ops::BatchAttentionArgs& args, const VariantReference& hooks) {
  const op::Operator& op = ops::batch_attention_operator(args.paged());
  const BatchRows rows(args);
  const int heads = args.plan.num_qo_heads, group = heads / args.plan.num_kv_heads, dims = args.head_dim_vo();
  op::ExpectedOutput out{op.operand("out"), {}, {}}, lse{op.operand("lse"), {}, {}};
  for (int r = 0; r < rows.batch_size(); ++r)
    for (int i = 0; i < rows.qo_len(r); ++i) {
      out.rows.push_back(rows.first_query(r) + i);
      for (int h = 0; h < heads; ++h) {
        out.values.resize(out.values.size() + static_cast<std::size_t>(dims));
        const PairIndex at{r, i, 0, h, h / group, rows.qo_len(r), rows.kv_len[static_cast<std::size_t>(r)]};
        lse.values.push_back(attend_in_fp64(args, rows, hooks, at, &out.values[out.values.size() - static_cast<std::size_t>(dims)]));
      }
    }
  lse.rows = out.rows;
  op::Expected expected = {out};
  if (args.run.lse.given()) expected.push_back(lse);
  return expected;
}

// Holds what `run(args)` writes against the reference.
template <class Run>
op::CheckResult check_variant(ops::BatchAttentionArgs& args, const VariantReference& hooks, Run run) {
  const op::Expected expected = expect_variant(args, hooks);
  op::fill_poison(args.run.out);
  if (args.run.lse.given()) op::fill_poison(args.run.lse);
  run(args);
  const op::Operator& op = ops::batch_attention_operator(args.paged());
  op::Axes axes;
  op::validate(op, &args, op::Phase::kPlan, axes);
  op::validate(op, &args, op::Phase::kRun, axes);
  return op::compare(op, &args, axes, expected);
}

// Memory of the examples' arguments.
struct ExampleArguments {
  std::vector<float> slopes = {0.5f, 0.25f, 0.125f, 0.0625f}, dump;
  std::vector<std::int32_t> documents, offsets;
};

// The six examples, for batches of at most 4 heads, and their arguments in `memory`.
inline std::vector<VariantCase> example_variants(const ops::BatchAttentionArgs& args, ExampleArguments& memory) {
  const BatchRows rows(args);
  int max_qo_len = 0, max_kv_len = 0;
  for (int r = 0; r < rows.batch_size(); ++r) {
    const int kv_len = rows.kv_len[static_cast<std::size_t>(r)];
    memory.offsets.push_back(static_cast<std::int32_t>(memory.documents.size()));
    for (int j = 0; j < kv_len; ++j) memory.documents.push_back(j / 9);
    max_qo_len = std::max(max_qo_len, rows.qo_len(r));
    max_kv_len = std::max(max_kv_len, kv_len);
  }
  const std::size_t row = static_cast<std::size_t>(args.plan.num_qo_heads * max_kv_len);
  memory.dump.assign(static_cast<std::size_t>(rows.batch_size() * max_qo_len) * row, -1.0f);
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const VariantScalarType f32 = VariantScalarType::kF32, f64 = VariantScalarType::kF64, i32 = VariantScalarType::kI32,
                          i64 = VariantScalarType::kI64;
  return {
      {.text = {"Sigmoid", example_text("sigmoid.h"), {}, {{"bias", f32}}},
       .tensors = {},
       .scalars = {-0.5},
       .reference = {.softmax = false, .logits = [=](const PairIndex&, double x) { return sigmoid(x - 0.5); }}},
      {.text = {"SinkWindow", example_text("sink_window.h"), {}, {{"num_sinks", i32}, {"window", i64}}},
       .tensors = {},
       .scalars = {3, 10},
       .reference = {.mask = [](const PairIndex& at) { return at.kv_idx < 3 || at.position() - at.kv_idx < 10; }}},
      {.text = {"SoftCap", example_text("soft_cap.h"), {}, {{"cap", f64}}},
       .tensors = {},
       .scalars = {1.5},
       .reference = {.logits = [](const PairIndex&, double x) { return 1.5 * std::tanh(x / 1.5); }}},
      {.text = {"Alibi", example_text("alibi.h"), {{"slopes", Dtype::kF32}}, {}},
       .tensors = {TensorView::of(memory.slopes)},
       .scalars = {},
       .reference = {.logits =
                         [&memory](const PairIndex& at, double x) {
                           return x + static_cast<double>(memory.slopes[static_cast<std::size_t>(at.qo_head_idx)]) *
                                          (at.kv_idx - at.position());
                         }}},
      {.text = {"DocumentMask", example_text("document_mask.h"), {{"documents", Dtype::kI32}, {"offsets", Dtype::kI32}}, {}},
       .tensors = {TensorView::of(memory.documents), TensorView::of(memory.offsets)},
       .scalars = {},
       .reference = {.mask = [](const PairIndex& at) { return at.kv_idx / 9 == at.position() / 9; }}},
      {.text = {"DumpLogits", example_text("dump_logits.h"), {{"dump", Dtype::kF32}}, {{"max_qo_len", i32}, {"max_kv_len", i32}}},
       .tensors = {TensorView::of(memory.dump)},
       .scalars = {static_cast<double>(max_qo_len), static_cast<double>(max_kv_len)},
       .reference = {}},
  };
}

}  // namespace strobe::test
