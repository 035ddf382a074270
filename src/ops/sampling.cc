#include "strobe/sampling.h"

#include "op/call.h"
#include "ops/operand_bytes.h"
#include "ops/sampling_call.h"
#include "ops/sampling_declare.h"
#include "reference/sampling.h"

namespace strobe::inline v1 {
namespace {

using kernel::TokenSource;
using kernel::TokenTask;
using op::Axes;
using op::check_random_numbers;
using op::check_vocabulary;
using op::Cost;
using op::Declare;
using op::fill_probs;
using op::kFloats;
using op::operand_bytes;
using op::Operator;
using op::Phase;
using op::Random;
using op::reject;
using op::run_sampling_cpu;
using op::run_sampling_cuda;
using op::same_as;
using op::SamplingCall;
using op::with_random_numbers;

constexpr op::DtypeSet kTokens = {Dtype::kI32, Dtype::kI64};

// Without indices sample i is of row i.
template <class Args>
void check_draw(const Operator& op, const Args& args, const TensorView& input) {
  check_vocabulary(op, input.shape[1]);
  const std::int64_t rows = args.samples.shape[0];
  check_random_numbers(op, args.random, rows);
  if (!args.indices.given() && rows > input.shape[0])
    reject(op, "samples", "expected at most num_rows = {} without indices, got {}", input.shape[0],
           describe(args.samples));
}

// The parameters of a filter, in the same words for every operator.
template <class Args, class D>
D& with_filter(D& declare) {
  return declare
      .template input<&Args::filter, &TokenFilter::top_k_rows>("top_k_rows", "batch_size", Dtype::kI32,
                                                               "top_k of each row")
      .optional()
      .dense()
      .template input<&Args::filter, &TokenFilter::top_p_rows>("top_p_rows", "batch_size", Dtype::kF32,
                                                               "top_p of each row")
      .optional()
      .dense()
      .template input<&Args::filter, &TokenFilter::min_p_rows>("min_p_rows", "batch_size", Dtype::kF32,
                                                               "min_p of each row")
      .optional()
      .dense()
      .template attribute<&Args::filter, &TokenFilter::top_k>("top_k", 0, 0x7fffffff,
                                                              "keep so many of the largest values; 0: all")
      .template attribute<&Args::filter, &TokenFilter::top_p>(
          "top_p", 0, 1, "keep the largest values that have this part of the weight")
      .template attribute<&Args::filter, &TokenFilter::min_p>(
          "min_p", 0, 1, "keep values of at least this part of the largest")
      .template attribute<&Args::filter, &TokenFilter::joint>(
          "joint", "each filter looks at the whole row, not at what the one before has kept");
}

template <class Args, class D>
D& with_temperature(D& declare) {
  return declare
      .template input<&Args::temperature_rows>("temperature_rows", "batch_size", Dtype::kF32,
                                               "temperature of each row")
      .optional()
      .dense()
      .template attribute<&Args::temperature>("temperature", 0, 1e30, "divides the logits; 0: the limit");
}

template <class Args, class D>
D& with_draw(D& declare) {
  declare.template output<&Args::samples>("samples", "batch_size", kTokens, "the tokens")
      .dense()
      .template output<&Args::valid>("valid", "batch_size", Dtype::kBool, "whether the row was good")
      .optional()
      .dense()
      .template input<&Args::indices>("indices", "batch_size", Dtype::kI32, "the row of each sample")
      .optional()
      .dense();
  return with_random_numbers<Args>(declare);
}

template <class D>
D& with_sampling_axes(D& declare) {
  return declare.axis("num_rows", 64, "rows to draw from")
      .axis("vocab_size", 128256, "tokens of a row")
      .axis("batch_size", 64, "rows that are drawn from")
      .axis("num_seeds", 1, "1 or batch_size")
      .axis("num_offsets", 1, "1 or batch_size");
}

template <class D>
D& with_row_axes(D& declare) {
  return declare.axis("batch_size", 64, "rows").axis("vocab_size", 128256, "tokens of a row");
}

SamplingCall call_of(const SoftmaxArgs& args) {
  static const TokenFilter kAll;
  return {.op_name = "softmax",
          .source = TokenSource::kLogits,
          .task = TokenTask::kRenorm,
          .input = args.logits,
          .out = &args.probs,
          .filter = kAll,
          .temperature = args.temperature,
          .temperature_rows = &args.temperature_rows};
}
SamplingCall call_of(const RenormProbsArgs& args) {
  return {.op_name = "renorm_probs",
          .source = TokenSource::kProbs,
          .task = TokenTask::kRenorm,
          .input = args.probs,
          .out = &args.out,
          .filter = args.filter};
}
SamplingCall call_of(const MaskLogitsArgs& args) {
  return {.op_name = "mask_logits",
          .source = TokenSource::kLogits,
          .task = TokenTask::kMask,
          .input = args.logits,
          .out = &args.out,
          .filter = args.filter,
          .temperature = args.temperature,
          .temperature_rows = &args.temperature_rows};
}
SamplingCall call_of(const SamplingFromProbsArgs& args) {
  return {.op_name = "sampling_from_probs",
          .source = TokenSource::kProbs,
          .task = TokenTask::kSample,
          .input = args.probs,
          .samples = &args.samples,
          .valid = &args.valid,
          .indices = &args.indices,
          .filter = args.filter,
          .random = &args.random};
}
SamplingCall call_of(const SamplingFromLogitsArgs& args) {
  return {.op_name = "sampling_from_logits",
          .source = TokenSource::kLogits,
          .task = TokenTask::kSample,
          .input = args.logits,
          .samples = &args.samples,
          .valid = &args.valid,
          .indices = &args.indices,
          .filter = args.filter,
          .temperature = args.temperature,
          .temperature_rows = &args.temperature_rows,
          .random = &args.random};
}

// Both backends, and the bytes that the call moves at the least.
template <class Args, class D>
D& with_backends(D& declare) {
  return declare
      .cost([](const Args& args, const Axes&) {
        const SamplingCall call = call_of(args);
        const TensorView none;
        const auto elements = static_cast<double>(call.rows()) * static_cast<double>(call.vocab_size());
        return Cost{.flops = 4 * elements,
                    .bytes = elements * static_cast<double>(size_of(call.input.dtype)) +
                             operand_bytes(call.out != nullptr ? *call.out : none,
                                           call.samples != nullptr ? *call.samples : none)};
      })
      .backend(Backend::kCpu,
               [](const Args& args, const Axes&, const Launch&) { run_sampling_cpu(call_of(args)); })
      .backend(Backend::kCudaSm80, [](const Args& args, const Axes&, const Launch& launch) {
        run_sampling_cuda(call_of(args), launch);
      });
}

constexpr char kHoltzman[] =
    "top-p: Holtzman et al., The Curious Case of Neural Text Degeneration, 2020; top-k: Fan et al., "
    "Hierarchical Neural Story Generation, 2018; min-p: Nguyen et al., 2024; random numbers: Salmon et al., "
    "Parallel random numbers: as easy as 1, 2, 3, 2011";
constexpr char kWeightRule[] =
    "weights are round(p * 2^40), of a softmax relative to its largest term; ties at a filter's border stay";

const Operator& softmax_operator() {
  using Args = SoftmaxArgs;
  static const Operator op = [] {
    Declare<Args> declare("softmax", "sampling", "Softmax of rows of logits.");
    declare.formula("probs[i, j] = exp((logits[i, j] - max_j(logits[i, j])) / temperature) / sum over j")
        .source("elementary")
        .function("strobe::softmax");
    with_row_axes(declare)
        .input<&Args::logits>("logits", "batch_size, vocab_size", kFloats, "rows of logits")
        .output<&Args::probs>("probs", "batch_size, vocab_size", Dtype::kF32, "their probabilities")
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_vocabulary(self, args.logits.shape[1]);
        })
        .accuracy([](const Args& args, const Axes&, int) {
          return op::Accuracy{.reduction = args.logits.shape[1]};
        })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::softmax(args, expected);
        });
    return with_backends<Args>(with_temperature<Args>(declare)).build();
  }();
  return op;
}

const Operator& sampling_from_probs_operator() {
  using Args = SamplingFromProbsArgs;
  static const Operator op = [] {
    Declare<Args> declare("sampling_from_probs", "sampling",
                          "Draws a token of each row of probabilities, behind top-k, top-p and min-p.");
    declare.formula("samples[i] = j with probability w[i, j] / sum of w[i] over what the filters keep")
        .source(kHoltzman)
        .function("strobe::sampling_from_probs")
        .rule(kWeightRule);
    with_sampling_axes(declare)
        .input<&Args::probs>("probs", "num_rows, vocab_size", kFloats, "rows of probabilities")
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          fill_probs(view, random);
        })
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_draw(self, args, args.probs);
        })
        .accuracy([](const Args&, const Axes&, int) { return op::Accuracy{}; })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::sampling_from_probs(args, expected);
        });
    return with_backends<Args>(with_filter<Args>(with_draw<Args>(declare))).build();
  }();
  return op;
}

const Operator& sampling_from_logits_operator() {
  using Args = SamplingFromLogitsArgs;
  static const Operator op = [] {
    Declare<Args> declare(
        "sampling_from_logits", "sampling",
        "Temperature, softmax, top-k, top-p and min-p, and a draw from each row of logits, in one.");
    declare.formula("samples[i] = j with probability w[i, j] / sum of w[i] over what the filters keep")
        .source(kHoltzman)
        .function("strobe::sampling_from_logits")
        .rule(kWeightRule);
    with_sampling_axes(declare)
        .input<&Args::logits>("logits", "num_rows, vocab_size", kFloats, "rows of logits")
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_draw(self, args, args.logits);
        })
        .accuracy([](const Args&, const Axes&, int) { return op::Accuracy{}; })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::sampling_from_logits(args, expected);
        });
    return with_backends<Args>(with_temperature<Args>(with_filter<Args>(with_draw<Args>(declare)))).build();
  }();
  return op;
}

const Operator& renorm_probs_operator() {
  using Args = RenormProbsArgs;
  static const Operator op = [] {
    Declare<Args> declare("renorm_probs", "sampling",
                          "Probabilities of what top-k, top-p and min-p keep, 0 elsewhere.");
    declare.formula("out[i, j] = probs[i, j] * 2^40 / sum of w[i] over what the filters keep, 0 elsewhere")
        .source(kHoltzman)
        .function("strobe::renorm_probs")
        .rule(kWeightRule);
    with_row_axes(declare)
        .input<&Args::probs>("probs", "batch_size, vocab_size", kFloats, "rows of probabilities")
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          fill_probs(view, random);
        })
        .output<&Args::out>("out", "batch_size, vocab_size", same_as("probs"),
                            "the probabilities that are left")
        .may_alias("probs")
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_vocabulary(self, args.probs.shape[1]);
        })
        .accuracy([](const Args& args, const Axes&, int) {
          return op::Accuracy{.reduction = args.probs.shape[1]};  // of the sum that divides
        })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::renorm_probs(args, expected);
        });
    return with_backends<Args>(with_filter<Args>(declare)).build();
  }();
  return op;
}

const Operator& mask_logits_operator() {
  using Args = MaskLogitsArgs;
  static const Operator op = [] {
    Declare<Args> declare("mask_logits", "sampling",
                          "Logits of what top-k, top-p and min-p keep, -Inf elsewhere.");
    declare.formula("out[i, j] = logits[i, j] where the filters keep j, -Inf elsewhere")
        .source(kHoltzman)
        .function("strobe::mask_logits")
        .rule(kWeightRule);
    with_row_axes(declare)
        .input<&Args::logits>("logits", "batch_size, vocab_size", kFloats, "rows of logits")
        .output<&Args::out>("out", "batch_size, vocab_size", same_as("logits"), "the logits that are left")
        .may_alias("logits")
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_vocabulary(self, args.logits.shape[1]);
        })
        .accuracy([](const Args&, const Axes&, int) { return op::Accuracy{}; })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::mask_logits(args, expected);
        });
    return with_backends<Args>(with_temperature<Args>(with_filter<Args>(declare))).build();
  }();
  return op;
}

}  // namespace

void softmax(const SoftmaxArgs& args, const Launch& launch) { op::call(softmax_operator(), args, launch); }
void sampling_from_probs(const SamplingFromProbsArgs& args, const Launch& launch) {
  op::call(sampling_from_probs_operator(), args, launch);
}
void sampling_from_logits(const SamplingFromLogitsArgs& args, const Launch& launch) {
  op::call(sampling_from_logits_operator(), args, launch);
}
void renorm_probs(const RenormProbsArgs& args, const Launch& launch) {
  op::call(renorm_probs_operator(), args, launch);
}
void mask_logits(const MaskLogitsArgs& args, const Launch& launch) {
  op::call(mask_logits_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_sampling(Registry& registry) {
  registry.add(softmax_operator());
  registry.add(sampling_from_probs_operator());
  registry.add(sampling_from_logits_operator());
  registry.add(renorm_probs_operator());
  registry.add(mask_logits_operator());
}

}  // namespace strobe::op
