// Benchmark routines of attention: requests with the shapes of decode, prefill and mixed batches on random
// data.
#include <algorithm>
#include <limits>
#include <numeric>

#include "core/message.h"
#include "op/call.h"
#include "ops/attention_args.h"
#include "ops/attention_declare.h"

namespace strobe::ops {
namespace {

using op::Case;
using op::Operator;
using op::Parameter;
using op::Problem;
using op::Random;
using op::Routine;
using op::ValueRule;

const ValueRule kCount = ValueRule::integer(0), kPositive = ValueRule::integer(1), kFlag = ValueRule::flag();

const Parameter kQoLen = {"qo_len", "1024", "query tokens of a request", kCount};
const Parameter kKvLen = {"kv_len", "4096", "KV tokens of a request (the longest, where lengths differ)",
                          kCount};
const Parameter kBatchSize = {"batch_size", "16", "requests", kCount};
const Parameter kLengths = {
    "lengths", "same",
    "KV lengths: same; random: uniform from kv_len / 8 to kv_len; any: uniform from 1 "
    "to kv_len; skewed: one of kv_len, the others kv_len / 16",
    ValueRule::choice({"same", "random", "any", "skewed"})};
const Parameter kPageSize = {"page_size", "16", "tokens of a page", kPositive};
const Parameter kCausal = {"causal", "true", "right-aligned causal mask", kFlag};

std::vector<Parameter> with_common(std::vector<Parameter> parameters) {
  const std::vector<Parameter> common = {
      {"num_qo_heads", "32", "query heads", kPositive},
      {"num_kv_heads", "8", "KV heads", kPositive},
      {"head_dim_qk", "128", "elements of a query or key", kPositive},
      {"head_dim_vo", "128", "elements of a value or output", kPositive},
      {"kv_layout", "HND", "NHD or HND", ValueRule::choice({"NHD", "HND"})},
      {"dtype", "bf16", "of q and out: f32, f16 or bf16; e4m3: of q, out is bf16",
       ValueRule::dtype(kQueryDtypes)},
      {"kv_dtype", "", "of k and v: e4m3, e5m2; empty: dtype", ValueRule::dtype(op::kFloatsAndFp8)},
      {"head_scales", "false", "with scales by head of q, k and v in e4m3", kFlag},
      {"window_left", "-1", "sliding window; -1 off", ValueRule::integer(-1)},
      {"logits_soft_cap", "0", "0 off", ValueRule::number(0, std::numeric_limits<float>::max())},
      {"pos_encoding", "none", "none, rope or alibi", ValueRule::choice({"none", "rope", "alibi"})},
      {"sinks", "false", "with attention sinks", kFlag},
      {"return_lse", "true", "with the lse output", kFlag},
      {"deterministic", "false", "a request's bits depend on the request alone", kFlag}};
  parameters.insert(parameters.end(), common.begin(), common.end());
  return parameters;
}

template <class T>
T choose(const Case& values, std::string_view parameter,
         std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (values.text(parameter) == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  fail(ErrorKind::kInvalidArgument, "{}: expected one of {}, got '{}'", parameter, names,
       values.text(parameter));
}

KvLayout layout(const Case& values) {
  return choose<KvLayout>(values, "kv_layout", {{"NHD", KvLayout::kNhd}, {"HND", KvLayout::kHnd}});
}

Dtype kv_dtype(const Case& values) {
  return values.text("kv_dtype").empty() ? values.dtype("dtype") : values.dtype("kv_dtype");
}

Dtype out_dtype(const Case& values) {
  const Dtype dtype = values.dtype("dtype");
  return dtype == Dtype::kE4m3 ? Dtype::kBf16 : dtype;
}

AttentionOptions options_of(const Case& values, bool causal) {
  AttentionOptions options;
  options.mask = causal ? MaskMode::kCausal : MaskMode::kNone;
  options.window_left = static_cast<int>(values.integer("window_left", -1));
  options.logits_soft_cap = static_cast<float>(values.number("logits_soft_cap"));
  options.pos_encoding = choose<PosEncoding>(
      values, "pos_encoding",
      {{"none", PosEncoding::kNone}, {"rope", PosEncoding::kRope}, {"alibi", PosEncoding::kAlibi}});
  options.deterministic = values.flag("deterministic");
  return options;
}

// Owns the tensors of a problem and fills inputs.
class Maker {
 public:
  Maker(Problem& problem, Random& random) : problem_(problem), random_(random) {}

  TensorView input(Dtype dtype, std::initializer_list<std::int64_t> shape) {
    const TensorView view = add(Tensor(dtype, shape));
    op::fill_normal(view, random_);
    return view;
  }
  // Factors from 0.5 to 1.5.
  TensorView scales(std::int64_t count) {
    const TensorView view = add(Tensor(Dtype::kF32, {count}));
    for (std::int64_t i = 0; i < count; ++i)
      view.at<float>(i) = static_cast<float>(random_.integer(8, 24)) / 16;
    return view;
  }
  TensorView output(Dtype dtype, std::initializer_list<std::int64_t> shape) {
    const TensorView view = add(Tensor(dtype, shape));
    op::fill_poison(view);
    return view;
  }
  TensorView indices(const std::vector<std::int32_t>& values) {
    const TensorView view = add(Tensor(Dtype::kI32, {static_cast<std::int64_t>(values.size())}));
    std::copy(values.begin(), values.end(), view.as<std::int32_t>());
    return view;
  }

 private:
  TensorView add(Tensor tensor) {
    problem_.tensors.push_back(std::move(tensor));
    return problem_.tensors.back();
  }
  Problem& problem_;
  Random& random_;
};

// [a, b, dim] for NHD, [b, a, dim] for HND.
TensorView kv_input(Maker& make, Dtype dtype, KvLayout layout, std::int64_t tokens, std::int64_t heads,
                    std::int64_t dim) {
  return layout == KvLayout::kNhd ? make.input(dtype, {tokens, heads, dim})
                                  : make.input(dtype, {heads, tokens, dim});
}

template <class Args>
Problem make_single(const Operator& op, const Case& values, Random& random, std::shared_ptr<Args> args,
                    std::initializer_list<std::int64_t> tokens) {
  Problem problem;
  problem.op = &op;
  problem.args = args;
  Maker make(problem, random);
  const std::int64_t kv_len = values.integer("kv_len"), qo_heads = values.integer("num_qo_heads", 1),
                     kv_heads = values.integer("num_kv_heads", 1);
  const std::int64_t qk = values.integer("head_dim_qk", 1), vo = values.integer("head_dim_vo", 1);
  const Dtype dtype = values.dtype("dtype");
  const bool one_token = tokens.size() == 0;
  args->kv_layout = layout(values);
  args->q =
      one_token ? make.input(dtype, {qo_heads, qk}) : make.input(dtype, {*tokens.begin(), qo_heads, qk});
  args->k = kv_input(make, kv_dtype(values), args->kv_layout, kv_len, kv_heads, qk);
  args->v = kv_input(make, kv_dtype(values), args->kv_layout, kv_len, kv_heads, vo);
  if (values.flag("sinks")) args->sinks = make.input(Dtype::kF32, {qo_heads});
  const Dtype out = out_dtype(values);
  args->out =
      one_token ? make.output(out, {qo_heads, vo}) : make.output(out, {*tokens.begin(), qo_heads, vo});
  if (values.flag("return_lse"))
    args->lse = one_token ? make.output(Dtype::kF32, {qo_heads})
                          : make.output(Dtype::kF32, {*tokens.begin(), qo_heads});
  op::bind_calls(problem, op::Phase::kRun);
  return problem;
}

// Of q, k and v by head, where the case has them. Args: SinglePrefillArgs or AttentionRunArgs.
template <class Args>
void make_head_scales(Maker& make, const Case& values, std::int64_t qo_heads, std::int64_t kv_heads,
                      Args& args) {
  if (!values.flag("head_scales")) return;
  args.q_scales = make.scales(qo_heads);
  args.k_scales = make.scales(kv_heads);
  args.v_scales = make.scales(kv_heads);
}

// Query and KV tokens of each request.
struct Lengths {
  std::vector<std::int64_t> qo, kv;
};

std::vector<std::int32_t> prefix_sums(const std::vector<std::int64_t>& counts) {
  std::vector<std::int32_t> sums(counts.size() + 1, 0);
  for (std::size_t i = 0; i < counts.size(); ++i)
    sums[i + 1] = sums[i] + static_cast<std::int32_t>(counts[i]);
  return sums;
}

std::vector<std::int32_t> permutation(std::int32_t count, Random& random) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1],
              order[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(i) - 1))]);
  return order;
}

void plan_pages(Maker& make, const Lengths& lengths, std::int64_t page_size, Random& random,
                BatchAttentionArgs& args, std::int64_t& num_pages) {
  std::vector<std::int64_t> pages;
  std::vector<std::int32_t> last_page_len;
  for (std::int64_t kv_len : lengths.kv) {
    pages.push_back((kv_len + page_size - 1) / page_size);
    last_page_len.push_back(kv_len == 0 ? 0 : static_cast<std::int32_t>((kv_len - 1) % page_size + 1));
  }
  const std::vector<std::int32_t> indptr = prefix_sums(pages);
  num_pages = indptr.back();
  args.plan.kv_indptr = make.indices(indptr);
  args.plan.kv_indices = make.indices(permutation(indptr.back(), random));
  args.plan.last_page_len = make.indices(last_page_len);
}

Problem make_batch(const Operator& op, const Case& values, Random& random, const Lengths& lengths,
                   bool causal, bool paged) {
  Problem problem;
  problem.op = &op;
  auto args = std::make_shared<BatchAttentionArgs>();
  problem.args = args;
  Maker make(problem, random);
  AttentionPlanArgs& plan = args->plan;
  const Dtype dtype = values.dtype("dtype");
  const std::int64_t qo_heads = values.integer("num_qo_heads", 1),
                     kv_heads = values.integer("num_kv_heads", 1);
  const std::int64_t qk = values.integer("head_dim_qk", 1), vo = values.integer("head_dim_vo", 1);
  plan.num_qo_heads = static_cast<int>(qo_heads);
  plan.num_kv_heads = static_cast<int>(kv_heads);
  plan.head_dim_qk = static_cast<int>(qk);
  plan.head_dim_vo = static_cast<int>(vo);
  plan.kv_layout = layout(values);
  plan.q_dtype = dtype;
  plan.kv_dtype = kv_dtype(values);
  plan.options = options_of(values, causal);
  const std::vector<std::int32_t> qo_indptr = prefix_sums(lengths.qo);
  plan.qo_indptr = make.indices(qo_indptr);
  if (paged) {
    plan.page_size = static_cast<int>(values.integer("page_size", 1));
    std::int64_t pages = 0;
    plan_pages(make, lengths, plan.page_size, random, *args, pages);
    const bool nhd = plan.kv_layout == KvLayout::kNhd;
    const std::int64_t first = nhd ? plan.page_size : kv_heads, second = nhd ? kv_heads : plan.page_size;
    args->run.k = make.input(plan.kv_dtype, {pages, first, second, qk});
    args->run.v = make.input(plan.kv_dtype, {pages, first, second, vo});
  } else {
    const std::vector<std::int32_t> kv_indptr = prefix_sums(lengths.kv);
    plan.kv_indptr = make.indices(kv_indptr);
    args->run.k = kv_input(make, plan.kv_dtype, plan.kv_layout, kv_indptr.back(), kv_heads, qk);
    args->run.v = kv_input(make, plan.kv_dtype, plan.kv_layout, kv_indptr.back(), kv_heads, vo);
  }
  const std::int64_t tokens = qo_indptr.back();
  args->run.q = make.input(dtype, {tokens, qo_heads, qk});
  if (values.flag("sinks")) args->run.sinks = make.input(Dtype::kF32, {qo_heads});
  make_head_scales(make, values, qo_heads, kv_heads, args->run);
  args->run.out = make.output(out_dtype(values), {tokens, qo_heads, vo});
  if (values.flag("return_lse")) args->run.lse = make.output(Dtype::kF32, {tokens, qo_heads});
  op::bind_calls(problem, op::Phase::kRun);
  return problem;
}

std::vector<std::int64_t> kv_lengths_of(const Case& values, Random& random) {
  const std::int64_t count = values.integer("batch_size"), longest = values.integer("kv_len");
  enum class Kind { kSame, kRandom, kAny, kSkewed };
  const Kind kind = choose<Kind>(
      values, "lengths",
      {{"same", Kind::kSame}, {"random", Kind::kRandom}, {"any", Kind::kAny}, {"skewed", Kind::kSkewed}});
  std::vector<std::int64_t> lengths;
  for (std::int64_t request = 0; request < count; ++request)
    lengths.push_back(kind == Kind::kSame || (kind == Kind::kSkewed && request == 0) ? longest
                      : kind == Kind::kRandom ? random.integer(longest / 8, longest)
                      : kind == Kind::kAny    ? random.integer(std::min<std::int64_t>(1, longest), longest)
                                              : std::max<std::int64_t>(1, longest / 16));
  return lengths;
}

Lengths prefill_lengths(const Case& values, Random& random) {
  Lengths lengths{{}, kv_lengths_of(values, random)};
  const std::int64_t qo_len = values.integer("qo_len");
  for (std::int64_t kv_len : lengths.kv) lengths.qo.push_back(std::min(qo_len, kv_len));
  return lengths;
}

std::vector<std::pair<std::string_view, std::string>> defaults(
    std::initializer_list<std::pair<std::string_view, std::string>> list) {
  return list;
}

std::vector<Parameter> with_defaults(std::vector<Parameter> parameters,
                                     const std::vector<std::pair<std::string_view, std::string>>& changes) {
  for (const auto& [name, value] : changes)
    for (Parameter& parameter : parameters)
      if (parameter.name == name) parameter.default_value = value;
  return parameters;
}

}  // namespace

std::vector<Routine> single_prefill_routines() {
  return {{"single_prefill", "One request's query tokens over dense KV.",
           with_defaults(with_common({kQoLen, kKvLen, kCausal}), defaults({{"kv_len", "1024"}})),
           [](const Operator& op, const Case& values, Random& random) {
             auto args = std::make_shared<SinglePrefillArgs>();
             args->options = options_of(values, values.flag("causal"));
             return make_single(op, values, random, args, {values.integer("qo_len")});
           }}};
}

std::vector<Routine> single_decode_routines() {
  return {{"single_decode", "One query token over dense KV.", with_common({kKvLen}),
           [](const Operator& op, const Case& values, Random& random) {
             auto args = std::make_shared<SingleDecodeArgs>();
             args->options = options_of(values, false);
             return make_single(op, values, random, args, {});
           }}};
}

std::vector<Routine> batch_attention_routines(bool paged) {
  if (!paged)
    return {{"batch_prefill_ragged", "Prefill of several requests over ragged KV.",
             with_defaults(with_common({kBatchSize, kQoLen, kKvLen, kLengths, kCausal}),
                           defaults({{"batch_size", "4"}, {"kv_len", "1024"}})),
             [](const Operator& op, const Case& values, Random& random) {
               return make_batch(op, values, random, prefill_lengths(values, random), values.flag("causal"),
                                 false);
             }}};
  return {
      {"batch_decode_paged", "One query token of each request over a paged cache.",
       with_common({kBatchSize, kKvLen, kLengths, kPageSize}),
       [](const Operator& op, const Case& values, Random& random) {
         Lengths lengths{{}, kv_lengths_of(values, random)};
         lengths.qo.assign(lengths.kv.size(), 1);
         return make_batch(op, values, random, lengths, true, true);
       }},
      {"batch_prefill_paged", "Prefill or append of several requests over a paged cache.",
       with_defaults(with_common({kBatchSize, kQoLen, kKvLen, kLengths, kPageSize, kCausal}),
                     defaults({{"batch_size", "4"}, {"kv_len", "1024"}})),
       [](const Operator& op, const Case& values, Random& random) {
         return make_batch(op, values, random, prefill_lengths(values, random), values.flag("causal"), true);
       }},
      {"batch_mixed_paged", "Decode requests and one chunk of prefill in one batch over a paged cache.",
       with_defaults(with_common({kBatchSize,
                                  kQoLen,
                                  kKvLen,
                                  kLengths,
                                  kPageSize,
                                  {"num_prefill", "1",
                                   "requests with qo_len query tokens; the others have one", kCount}}),
                     defaults({{"qo_len", "512"}, {"lengths", "random"}})),
       [](const Operator& op, const Case& values, Random& random) {
         Lengths lengths{{}, kv_lengths_of(values, random)};
         const auto prefills = static_cast<std::size_t>(values.integer("num_prefill"));
         for (std::size_t request = 0; request < lengths.kv.size(); ++request)
           lengths.qo.push_back(std::min<std::int64_t>(lengths.kv[request],
                                                       request < prefills ? values.integer("qo_len") : 1));
         return make_batch(op, values, random, lengths, true, true);
       }},
  };
}

}  // namespace strobe::ops
