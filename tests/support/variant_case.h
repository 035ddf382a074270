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
  std::function<double(const PairIndex& at, double logits)> logits = [](const PairIndex&, double x) {
    return x;
  };
  std::function<bool(const PairIndex& at)> mask = [](const PairIndex&) { return true; };
  std::function<Row(const PairIndex& at, const Row& q)> query = [](const PairIndex&, const Row& q) {
    return q;
  };
  std::function<Row(const PairIndex& at, const Row& k)> key = [](const PairIndex&, const Row& k) {
    return k;
  };
  std::function<double(const PairIndex& at, double x, int dim)> output = [](const PairIndex&, double x, int) {
    return x;
  };
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
  explicit BatchRows(const ops::BatchAttentionArgs& args) : args_(args) {
    ops::kv_lengths(args.plan, kv_len);
  }
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
inline double attend_in_fp64(const ops::BatchAttentionArgs& args, const BatchRows& rows,
                             const VariantReference& hooks, PairIndex at, double* out) {
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
    logits.push_back(
        hooks.logits(at, product * sm_scale * static_cast<double>(options.q_scale * options.k_scale)));
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
        lse.values.push_back(attend_in_fp64(args, rows, hooks, at,
                                            &out.values[out.values.size() - static_cast<std::size_t>(dims)]));
      }
    }
  lse.rows = out.rows;
  op::Expected expected = {out};
  if (args.run.lse.given()) expected.push_back(lse);
  return expected;
}

// Holds what `run(args)` writes, on the device, against the reference.
template <class Run>
op::CheckResult check_variant(ops::BatchAttentionArgs& args, const VariantReference& hooks, Run run,
                              DeviceType device = DeviceType::kCpu) {
  const op::Expected expected = expect_variant(args, hooks);
  op::fill_poison(args.run.out);
  if (args.run.lse.given()) op::fill_poison(args.run.lse);
  run(args);
  const op::Operator& op = ops::batch_attention_operator(args.paged());
  op::Axes axes;
  op::validate(op, &args, op::Phase::kPlan, axes);
  op::validate(op, &args, op::Phase::kRun, axes);
  return op::compare(op, &args, axes, expected, device);
}

// Memory of the examples' arguments.
struct ExampleArguments {
  std::vector<float> slopes = {0.5f, 0.25f, 0.125f, 0.0625f}, dump;
  std::vector<std::int32_t> documents, offsets;
};

// The six examples, for batches of at most 4 heads, and their arguments in `memory`.
inline std::vector<VariantCase> example_variants(const ops::BatchAttentionArgs& args,
                                                 ExampleArguments& memory) {
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
  const VariantScalarType f32 = VariantScalarType::kF32, f64 = VariantScalarType::kF64,
                          i32 = VariantScalarType::kI32, i64 = VariantScalarType::kI64;
  return {
      {.text = {"Sigmoid", example_text("sigmoid.h"), {}, {{"bias", f32}}},
       .tensors = {},
       .scalars = {-0.5},
       .reference = {.softmax = false,
                     .logits = [=](const PairIndex&, double x) { return sigmoid(x - 0.5); }}},
      {.text = {"SinkWindow", example_text("sink_window.h"), {}, {{"num_sinks", i32}, {"window", i64}}},
       .tensors = {},
       .scalars = {3, 10},
       .reference =
           {.mask = [](const PairIndex& at) { return at.kv_idx < 3 || at.position() - at.kv_idx < 10; }}},
      {.text = {"SoftCap", example_text("soft_cap.h"), {}, {{"cap", f64}}},
       .tensors = {},
       .scalars = {1.5},
       .reference = {.logits = [](const PairIndex&, double x) { return 1.5 * std::tanh(x / 1.5); }}},
      {.text = {"Alibi", example_text("alibi.h"), {{"slopes", Dtype::kF32}}, {}},
       .tensors = {TensorView::of(memory.slopes)},
       .scalars = {},
       .reference = {.logits =
                         [&memory](const PairIndex& at, double x) {
                           return x + static_cast<double>(
                                          memory.slopes[static_cast<std::size_t>(at.qo_head_idx)]) *
                                          (at.kv_idx - at.position());
                         }}},
      {.text = {"DocumentMask",
                example_text("document_mask.h"),
                {{"documents", Dtype::kI32}, {"offsets", Dtype::kI32}},
                {}},
       .tensors = {TensorView::of(memory.documents), TensorView::of(memory.offsets)},
       .scalars = {},
       .reference = {.mask = [](const PairIndex& at) { return at.kv_idx / 9 == at.position() / 9; }}},
      {.text = {"DumpLogits",
                example_text("dump_logits.h"),
                {{"dump", Dtype::kF32}},
                {{"max_qo_len", i32}, {"max_kv_len", i32}}},
       .tensors = {TensorView::of(memory.dump)},
       .scalars = {static_cast<double>(max_qo_len), static_cast<double>(max_kv_len)},
       .reference = {}},
  };
}

// All hooks of Strobe's spelling that the examples do not have: neighbouring elements of q and k change
// places with opposite signs, the output depends on its element.
inline VariantCase turned_pairs() {
  const auto turned = [](const PairIndex&, const Row& x) {
    Row y(x.size());
    for (std::size_t d = 0; d < x.size(); ++d) y[d] = d % 2 == 0 ? -x[d + 1] : 0.5 * x[d - 1];
    return y;
  };
  return {.text = {"TurnedPairs",
                   R"(struct TurnedPairs {
  template <class Row>
  static float turned(const Row& x, int dim) { return dim % 2 == 0 ? -x[dim + 1] : 0.5f * x[dim - 1]; }
  static float query(const Params&, const QueryIndex&, const auto& q, int dim) { return turned(q, dim); }
  static float key(const Params& params, const KeyIndex& at, const auto& k, int dim) {
    return at.kv_idx < params.kv_len ? turned(k, dim) : 0.0f;
  }
  static float output(const Params& params, const QueryIndex& at, float output, int dim) {
    return output * (1 + dim + at.qo_head_idx) + (params.maybe_unused != nullptr ? 1e9f : params.offset);
  }
};
)",
                   {{"maybe_unused", Dtype::kU8}},
                   {{"offset", VariantScalarType::kF32}}},
          .tensors = {TensorView{}},
          .scalars = {0.25},
          .reference = {.query = turned, .key = turned, .output = [](const PairIndex& at, double x, int dim) {
                          return x * (1 + dim + at.qo_head_idx) + 0.25;
                        }}};
}

// FlashInfer's spelling, with every macro. Logits there are not scaled yet; a scalar hides Params' own
// sm_scale.
inline VariantCase flashinfer_spelling(std::vector<float>& sink, std::vector<float>& bias) {
  const auto at = [](const std::vector<float>& values, int i) {
    return static_cast<double>(values[static_cast<std::size_t>(i)]);
  };
  return {
      .text = {"SinkAndBias",
               R"(struct SinkAndBias : AttentionVariantBase {
  static constexpr bool use_softmax = true;
  uint32_t window_left, qo_len, kv_len;
  float sm_scale_log2;
  template <typename Params>
  __device__ __host__ SinkAndBias(const Params& params, uint32_t batch_idx, uint8_t* smem_ptr) {
    qo_len = params.get_qo_len(batch_idx);
    kv_len = params.get_kv_len(batch_idx);
    window_left = params.window_left >= 0 ? params.window_left : kv_len;
    sm_scale_log2 = params.sm_scale * math::log2e;
  }
  REGISTER_QUERY_TRANSFORM(params, q, { return q * 2.0f; })
  REGISTER_KEY_TRANSFORM(params, k, { return k * 0.5f; })
  REGISTER_LOGITS_TRANSFORM(params, logits, batch_idx, qo_idx, kv_idx, qo_head_idx, kv_head_idx, {
    return params.maybe_bias == nullptr ? logits : logits + params.maybe_bias[qo_head_idx] * T(kv_head_idx + 1);
  })
  REGISTER_LOGITS_MASK(params, batch_idx, qo_idx, kv_idx, qo_head_idx, kv_head_idx,
                       { return kv_idx + qo_len <= kv_len + qo_idx && kv_idx % 5 != 3; })
  REGISTER_M_D_UPDATE(params, kv_tile_idx, qo_head_idx, m, d, scale, {
    if (kv_tile_idx == 0) {
      const float sink = params.sink[qo_head_idx] * math::log2e;
      const float most = sink > m ? sink : m;
      scale = math::ptx_exp2(m - most);
      d = d * scale + math::ptx_exp2(sink - most);
      m = most;
    }
  })
  REGISTER_OUTPUT_TRANSFORM(params, output, batch_idx, qo_idx, qo_head_idx, m, d, scale,
                            { return output * scale * math::ptx_rcp(d) * get_v_scale(params); })
};
)",
               {{"sink", Dtype::kF32}, {"maybe_bias", Dtype::kF32}},
               {{"sm_scale", VariantScalarType::kF64}}},
      .tensors = {TensorView::of(sink), TensorView::of(bias)},
      .scalars = {0.125},
      .reference = {.logits =
                        [&bias, at](const PairIndex& p, double x) {
                          return x + at(bias, p.qo_head_idx) * (p.kv_head_idx + 1) * 0.125;
                        },
                    .mask = [](const PairIndex& p) { return p.kv_idx <= p.position() && p.kv_idx % 5 != 3; },
                    .sink = [&sink, at](int head) { return at(sink, head); }}};
}

// A text whose third line is wrong.
inline AttentionVariantText broken_text() {
  return {"Broken",
          "struct Broken {\n  static float logits(const Params& params, const LogitIndex&, float x) {\n"
          "    return x * params.no_such_parameter;\n  }\n};\n",
          {},
          {}};
}

// A batch of a routine, by its flags.
inline op::Problem routine_problem(const char* name,
                                   const std::vector<std::pair<const char*, const char*>>& flags) {
  const op::NamedRoutine routine = op::find_routine(name);
  op::Case parameters(routine.routine.parameters);
  for (const auto& [flag, value] : flags) parameters.set(flag, value);
  op::Random random(1);
  return routine.routine.make(*routine.op, parameters, random);
}

}  // namespace strobe::test
