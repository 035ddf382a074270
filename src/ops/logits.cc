#include "strobe/logits.h"

#include "core/message.h"
#include "op/call.h"
#include "op/declare.h"
#include "ops/logits_call.h"
#include "ops/operand_bytes.h"
#include "reference/logits.h"

namespace strobe::inline v1 {
namespace {

using op::Axes;
using op::Cost;
using op::Declare;
using op::kFloats;
using op::LogitsCall;
using op::Operator;
using op::Phase;
using op::Random;
using op::reject;
using op::same_as;

constexpr int kWordBits = 32;

LogitsCall call_of(const TokenBitmaskArgs& args) {
  return {.op_name = "apply_token_bitmask",
          .logits = args.logits,
          .out = args.out,
          .bitmask = args.bitmask,
          .bitmask_indices = args.bitmask_indices};
}
LogitsCall call_of(const PenaltiesArgs& args) {
  return {.op_name = "apply_penalties",
          .logits = args.logits,
          .out = args.out,
          .bitmask = args.bitmask,
          .bitmask_indices = args.bitmask_indices,
          .penalties = &args};
}

// One row of `state` for each row of logits, unless indices say which.
void check_rows(const Operator& op, std::string_view name, const TensorView& state, const TensorView& indices,
                const TensorView& logits) {
  if (state.given() && !indices.given() && state.shape[0] < logits.shape[0])
    reject(op, name, "expected at least batch_size = {} rows without indices, got {}", logits.shape[0],
           describe(state));
}

void check_mask(const Operator& op, std::string_view name, const TensorView& mask, const TensorView& indices,
                const TensorView& logits) {
  if (!mask.given()) return;
  check_rows(op, name, mask, indices, logits);
  const std::int64_t least = (logits.shape[1] + kWordBits - 1) / kWordBits;
  if (mask.shape[1] < least)
    reject(op, name, "expected at least {} words a row for {} tokens, got {}", least, logits.shape[1],
           describe(mask));
}

template <class Args, class D>
D& with_logits(D& declare) {
  return declare.axis("batch_size", 64, "rows")
      .axis("vocab_size", 128256, "tokens of a row")
      .axis("num_masks", 64, "rows of the mask")
      .axis("num_words", 4008, "words of a mask: at least vocab_size / 32, rounded up")
      .template input<&Args::logits>("logits", "batch_size, vocab_size", kFloats, "rows of logits")
      .template output<&Args::out>("out", "batch_size, vocab_size", same_as("logits"), "the logits behind it")
      .may_alias("logits");
}

template <class Args, class D>
D& with_backends(D& declare) {
  return declare.accuracy([](const Args&, const Axes&, int) { return op::Accuracy{}; })
      .backend(Backend::kCpu,
               [](const Args& args, const Axes&, const Launch&) { op::run_logits_cpu(call_of(args)); })
      .backend(Backend::kCudaSm80, [](const Args& args, const Axes&, const Launch& launch) {
        op::run_logits_cuda(call_of(args), launch);
      });
}

const Operator& token_bitmask_operator() {
  using Args = TokenBitmaskArgs;
  static const Operator op = [] {
    Declare<Args> declare("apply_token_bitmask", "logits",
                          "Logits of the tokens that a grammar allows, -Inf elsewhere.");
    declare.formula("out[i, j] = logits[i, j] where bit j of mask bitmask_indices[i] is set, -Inf elsewhere")
        .source("Dong et al., XGrammar: Flexible and Efficient Structured Generation Engine, 2024")
        .function("strobe::apply_token_bitmask")
        .rule(
            "token j is bit j % 32 of word j / 32; a row whose mask is below 0 stays; one whose mask is not "
            "there becomes NaN");
    with_logits<Args>(declare)
        .input<&Args::bitmask>("bitmask", "num_masks, num_words", Dtype::kI32, "bits of the allowed tokens")
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          for (std::int64_t i = 0; i < view.shape[0]; ++i)
            for (std::int64_t j = 0; j < view.shape[1]; ++j)
              view.at<std::int32_t>(i, j) = static_cast<std::int32_t>(random.next());
        })
        .input<&Args::bitmask_indices>("bitmask_indices", "batch_size", Dtype::kI32, "the mask of each row")
        .optional()
        .dense()
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_mask(self, "bitmask", args.bitmask, args.bitmask_indices, args.logits);
        })
        .cost([](const Args& args, const Axes&) {
          return Cost{.flops = 0, .bytes = op::operand_bytes(args.logits, args.out, args.bitmask)};
        })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::apply_token_bitmask(args, expected);
        });
    return with_backends<Args>(declare).build();
  }();
  return op;
}

// Most tokens have not been generated.
void fill_counts(const TensorView& view, Random& random) {
  for (std::int64_t i = 0; i < view.shape[0]; ++i)
    for (std::int64_t j = 0; j < view.shape[1]; ++j) {
      const std::int64_t number = random.integer(0, 31);
      view.at<std::int32_t>(i, j) = static_cast<std::int32_t>(number < 5 ? number : 0);
    }
}

constexpr double kMostRepetition = 1e3, kMostPenalty = 1e3;

template <class D>
D& with_penalties(D& declare) {
  using Args = PenaltiesArgs;
  return declare
      .template input<&Args::repetition_penalty_rows>("repetition_penalty_rows", "batch_size", Dtype::kF32,
                                                      "repetition_penalty of each row")
      .optional()
      .dense()
      .template input<&Args::frequency_penalty_rows>("frequency_penalty_rows", "batch_size", Dtype::kF32,
                                                     "frequency_penalty of each row")
      .optional()
      .dense()
      .template input<&Args::presence_penalty_rows>("presence_penalty_rows", "batch_size", Dtype::kF32,
                                                    "presence_penalty of each row")
      .optional()
      .dense()
      .template attribute<&Args::repetition_penalty>("repetition_penalty", 1 / kMostRepetition,
                                                     kMostRepetition, "divides logits above 0 of seen tokens")
      .template attribute<&Args::frequency_penalty>("frequency_penalty", -kMostPenalty, kMostPenalty,
                                                    "subtracted for each time a token was generated")
      .template attribute<&Args::presence_penalty>("presence_penalty", -kMostPenalty, kMostPenalty,
                                                   "subtracted from generated tokens");
}

const Operator& penalties_operator() {
  using Args = PenaltiesArgs;
  static const Operator op = [] {
    Declare<Args> declare("apply_penalties", "logits",
                          "Repetition, frequency and presence penalties, then a token mask if there is one.");
    declare
        .formula(
            "x = logits[i, j], divided by repetition_penalty (multiplied, where x <= 0) when seen; out[i, j] "
            "= x - (frequency_penalty * counts[slot, j] + presence_penalty) when generated")
        .source(
            "Keskar et al., CTRL: A Conditional Transformer Language Model for Controllable Generation, "
            "2019; "
            "frequency and presence: OpenAI's API reference")
        .function("strobe::apply_penalties")
        .rule(
            "seen: generated (counts > 0) or in the prompt; a row whose slot is below 0 stays; one whose "
            "slot "
            "is not there, or with a bad penalty, becomes NaN");
    with_logits<Args>(declare.axis("num_slots", 64, "rows of the counts"))
        .input<&Args::counts>("counts", "num_slots, vocab_size", Dtype::kI32,
                              "times each token was generated")
        .fill([](const TensorView& view, const Axes&, const Args&, Random& random) {
          fill_counts(view, random);
        })
        .input<&Args::prompt_mask>("prompt_mask", "num_slots, num_words", Dtype::kI32,
                                   "bits of the tokens in the prompt")
        .optional()
        .input<&Args::slots>("slots", "batch_size", Dtype::kI32, "the slot of each row")
        .optional()
        .dense()
        .input<&Args::bitmask>("bitmask", "num_masks, num_words", Dtype::kI32, "bits of the allowed tokens")
        .optional()
        .input<&Args::bitmask_indices>("bitmask_indices", "batch_size", Dtype::kI32, "the mask of each row")
        .optional()
        .dense()
        .check([](const Operator& self, const Args& args, const Axes&, Phase) {
          check_rows(self, "counts", args.counts, args.slots, args.logits);
          check_mask(self, "prompt_mask", args.prompt_mask, args.slots, args.logits);
          check_mask(self, "bitmask", args.bitmask, args.bitmask_indices, args.logits);
          if (args.bitmask_indices.given() && !args.bitmask.given())
            reject(self, "bitmask_indices", "expected none without a bitmask, got {}",
                   describe(args.bitmask_indices));
        })
        .cost([](const Args& args, const Axes&) {
          return Cost{
              .flops = 0,
              .bytes = op::operand_bytes(args.logits, args.out, args.counts, args.prompt_mask, args.bitmask)};
        })
        .reference([](const Args& args, const Axes&, op::Expected& expected) {
          reference::apply_penalties(args, expected);
        });
    return with_backends<Args>(with_penalties(declare)).build();
  }();
  return op;
}

}  // namespace

void apply_token_bitmask(const TokenBitmaskArgs& args, const Launch& launch) {
  op::call(token_bitmask_operator(), args, launch);
}
void apply_penalties(const PenaltiesArgs& args, const Launch& launch) {
  op::call(penalties_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_logits(Registry& registry) {
  registry.add(token_bitmask_operator());
  registry.add(penalties_operator());
}

}  // namespace strobe::op
