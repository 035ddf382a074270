// Enumeration of a source's kernels: the whole product, and a set that covers every pair of values.
#include <algorithm>
#include <cstdint>

#include "jit/kernel_source.h"

namespace strobe::jit {
namespace {

// The next combination in the order of a mixed-radix counter whose digits index the constants' values; false
// after the last.
bool advance(const KernelSource& source, std::array<std::size_t, kMaxConstants>& digits) {
  for (std::size_t i = 0; i < source.constants.size(); ++i) {
    if (++digits[i] < source.constants[i].values.size()) return true;
    digits[i] = 0;
  }
  return false;
}

// Values of two constants (of one constant twice, when the source has only one) that occur together.
struct Pair {
  std::uint8_t first, second;
  int first_value, second_value;
  friend auto operator<=>(const Pair&, const Pair&) = default;
};

std::vector<Pair> pairs_of(const Variant& variant) {
  std::vector<Pair> pairs;
  const std::size_t count = variant.source->constants.size();
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = count == 1 ? i : i + 1; j < count; ++j)
      pairs.push_back(
          {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(j), variant.values[i], variant.values[j]});
  return pairs;
}

}  // namespace

std::vector<Variant> all_variants(const KernelSource& source, cuda::Architecture architecture) {
  std::vector<Variant> variants;
  std::array<std::size_t, kMaxConstants> digits{};
  do {
    Variant variant{&source, {}, architecture};
    for (std::size_t i = 0; i < source.constants.size(); ++i)
      variant.values[i] = source.constants[i].values[digits[i]];
    if (exists(variant)) variants.push_back(variant);
  } while (advance(source, digits));
  return variants;
}

// Greedy: the kernel that covers most of the pairs still missing comes next.
std::vector<Variant> covering_variants(const KernelSource& source, cuda::Architecture architecture) {
  std::vector<Variant> candidates = all_variants(source, architecture);
  if (source.constants.empty()) return candidates;
  std::vector<std::vector<Pair>> missing;  // by candidate, sorted
  for (const Variant& candidate : candidates) missing.push_back(pairs_of(candidate));
  std::vector<Variant> chosen;
  for (;;) {
    const auto best = std::max_element(missing.begin(), missing.end(),
                                       [](const auto& a, const auto& b) { return a.size() < b.size(); });
    if (best == missing.end() || best->empty()) return chosen;
    chosen.push_back(candidates[static_cast<std::size_t>(best - missing.begin())]);
    const std::vector<Pair> covered = *best;
    for (std::vector<Pair>& pairs : missing)
      std::erase_if(
          pairs, [&](const Pair& pair) { return std::binary_search(covered.begin(), covered.end(), pair); });
  }
}

}  // namespace strobe::jit
