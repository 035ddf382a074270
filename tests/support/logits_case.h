// Calls of apply_penalties with every operand, for the tests of both backends.
#pragma once

#include <vector>

#include "op/random.h"
#include "strobe/logits.h"

namespace strobe::test {

struct PenaltiesCase {
  std::int64_t batch_size = 5, vocab_size = 100, num_slots = 3, num_masks = 2;
  Dtype dtype = Dtype::kF32;
  std::int64_t gap = 0;  // elements between rows
};

// Rows of which some have no slot or no mask, and some share one.
class PenaltiesProblem {
 public:
  explicit PenaltiesProblem(const PenaltiesCase& of)
      : logits_(of.dtype, {of.batch_size, of.vocab_size + of.gap}),
        out_(of.dtype, {of.batch_size, of.vocab_size + of.gap}),
        counts_(Dtype::kI32, {of.num_slots, of.vocab_size + of.gap}),
        prompt_mask_(Dtype::kI32, {of.num_slots, words(of)}),
        bitmask_(Dtype::kI32, {of.num_masks, words(of)}),
        slots_(Dtype::kI32, {of.batch_size}),
        masks_(Dtype::kI32, {of.batch_size}),
        repetition_(Dtype::kF32, {of.batch_size}),
        frequency_(Dtype::kF32, {of.batch_size}),
        presence_(Dtype::kF32, {of.batch_size}) {
    op::Random random(11);
    op::fill_normal(logits_, random, 0, 3);
    op::fill_poison(out_);
    for (std::int64_t i = 0; i < counts_.view().size(); ++i)
      counts_.as<std::int32_t>()[i] =
          static_cast<std::int32_t>(std::max<std::int64_t>(0, random.integer(-9, 5)));
    for (const Tensor* mask : {&prompt_mask_, &bitmask_})
      for (std::int64_t i = 0; i < mask->view().size(); ++i)
        mask->as<std::int32_t>()[i] = static_cast<std::int32_t>(random.next());
    for (std::int64_t i = 0; i < of.batch_size; ++i) {
      slots_.as<std::int32_t>()[i] = static_cast<std::int32_t>(i % (of.num_slots + 1)) - 1;
      masks_.as<std::int32_t>()[i] = static_cast<std::int32_t>((i + 1) % (of.num_masks + 1)) - 1;
      repetition_.as<float>()[i] = static_cast<float>(0.7 + random.uniform());
      frequency_.as<float>()[i] = static_cast<float>(random.uniform() - 0.3);
      presence_.as<float>()[i] = static_cast<float>(random.uniform() - 0.3);
    }
    args = {.logits = part(logits_, of),
            .out = part(out_, of),
            .counts = part(counts_, of),
            .prompt_mask = prompt_mask_,
            .slots = slots_,
            .repetition_penalty_rows = repetition_,
            .frequency_penalty_rows = frequency_,
            .presence_penalty_rows = presence_,
            .bitmask = bitmask_,
            .bitmask_indices = masks_};
  }

  PenaltiesArgs args;

 private:
  static std::int64_t words(const PenaltiesCase& of) { return (of.vocab_size + 31) / 32 + of.gap; }
  static TensorView part(const Tensor& whole, const PenaltiesCase& of) {
    TensorView view = whole;
    view.shape[1] = of.vocab_size;
    return view;
  }
  Tensor logits_, out_, counts_, prompt_mask_, bitmask_, slots_, masks_, repetition_, frequency_, presence_;
};

}  // namespace strobe::test
