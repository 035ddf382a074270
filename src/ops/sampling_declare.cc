#include "ops/sampling_declare.h"

#include <cmath>

#include "core/message.h"
#include "op/validate.h"

namespace strobe::op {

void check_vocabulary(const Operator& op, std::int64_t tokens) {
  constexpr std::int64_t kMostTokens = std::int64_t{1} << 22;
  if (tokens < 1) reject(op, "vocab_size", "expected at least one token, got {}", tokens);
  if (tokens > kMostTokens)
    fail(ErrorKind::kUnsupported, "{}: a vocabulary of {} tokens, at most {} are possible", op.name, tokens,
         kMostTokens);
}

void check_random_numbers(const Operator& op, const RandomNumbers& random, std::int64_t rows) {
  for (const auto& [name, numbers] :
       {std::pair("seeds", &random.seeds), std::pair("offsets", &random.offsets)})
    if (numbers->given() && numbers->shape[0] != 1 && numbers->shape[0] != rows)
      reject(op, name, "expected 1 or batch_size = {} elements, got {}", rows, describe(*numbers));
}

void fill_probs(const TensorView& view, Random& random) {
  const std::int64_t vocab = view.shape[static_cast<std::size_t>(view.rank - 1)];
  const std::int64_t rows = vocab == 0 ? 0 : view.size() / vocab;
  const Tensor logits(Dtype::kF32, {vocab});
  for (std::int64_t row = 0; row < rows; ++row) {
    fill_normal(logits, random, 0, 2);
    const float* x = logits.as<float>();
    double sum = 0;
    for (std::int64_t j = 0; j < vocab; ++j) sum += std::exp(static_cast<double>(x[j]));
    for (std::int64_t j = 0; j < vocab; ++j) {
      const auto p = static_cast<float>(std::exp(static_cast<double>(x[j])) / sum);
      switch (view.dtype) {
        case Dtype::kF16:
          view.as<F16>()[row * vocab + j] = F16(p);
          break;
        case Dtype::kBf16:
          view.as<Bf16>()[row * vocab + j] = Bf16(p);
          break;
        default:
          view.as<float>()[row * vocab + j] = p;
      }
    }
  }
}

}  // namespace strobe::op
