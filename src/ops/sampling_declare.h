// What the declarations of sampling and of speculative decoding share.
#pragma once

#include "op/declare.h"
#include "strobe/sampling.h"

namespace strobe::op {

// One token at the least, 2^22 at the most.
void check_vocabulary(const Operator& op, std::int64_t tokens);

// Seeds and offsets are one or one for each row.
void check_random_numbers(const Operator& op, const RandomNumbers& random, std::int64_t rows);

// Rows of probabilities: the softmax of normal logits, as those of a language model nearly are.
void fill_probs(const TensorView& view, Random& random);

template <class Args, class D>
D& with_random_numbers(D& declare) {
  constexpr double kLargestNumber = 0x1p53;  // that an attribute holds exactly
  return declare
      .template input<&Args::random, &RandomNumbers::seeds>("seeds", "num_seeds", Dtype::kI64,
                                                            "seed of all rows, or of each")
      .optional()
      .dense()
      .template input<&Args::random, &RandomNumbers::offsets>("offsets", "num_offsets", Dtype::kI64,
                                                              "offset of all rows, or of each")
      .optional()
      .dense()
      .template attribute<&Args::random, &RandomNumbers::seed>("seed", 0, kLargestNumber,
                                                               "of the random numbers")
      .template attribute<&Args::random, &RandomNumbers::offset>(
          "offset", 0, kLargestNumber, "of the random numbers: another one for every call");
}

}  // namespace strobe::op
