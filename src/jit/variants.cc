// Enumeration of a source's kernels: the whole product, and a set that covers every pair of values.
#include <algorithm>
#include <map>
#include <tuple>

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

// A kernel, and the pairs of values that it has, by number.
struct Candidate {
  Variant variant;
  std::vector<std::size_t> pairs;
};

// Numbers pairs of values as they come, from 0.
class PairNumbers {
 public:
  std::vector<std::size_t> of(const Variant& variant) {
    std::vector<int> row(variant.constants().begin(), variant.constants().end());
    row.push_back(static_cast<int>(variant.architecture));
    std::vector<std::size_t> pairs;
    for (std::size_t i = 0; i < row.size(); ++i)
      for (std::size_t j = i + 1; j < row.size(); ++j)
        pairs.push_back(numbers_.try_emplace({i, j, row[i], row[j]}, numbers_.size()).first->second);
    return pairs;
  }
  std::size_t count() const { return numbers_.size(); }

 private:
  std::map<std::tuple<std::size_t, std::size_t, int, int>, std::size_t> numbers_;
};

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
std::vector<Variant> covering_variants(const KernelSource& source,
                                       std::span<const cuda::Architecture> architectures) {
  std::vector<Variant> chosen;
  std::vector<Candidate> candidates;
  PairNumbers numbers;
  for (const cuda::Architecture architecture : architectures)
    for (const Variant& variant : all_variants(source, architecture))
      candidates.push_back({variant, numbers.of(variant)});
  if (source.constants.empty()) {
    for (const Candidate& candidate : candidates) chosen.push_back(candidate.variant);
    return chosen;
  }
  std::vector<bool> covered(numbers.count());
  for (;;) {
    const Candidate* best = nullptr;
    std::ptrdiff_t most = 0;
    for (const Candidate& candidate : candidates) {
      const std::ptrdiff_t missing =
          std::ranges::count_if(candidate.pairs, [&](std::size_t pair) { return !covered[pair]; });
      if (missing > most) {
        most = missing;
        best = &candidate;
      }
    }
    if (best == nullptr) return chosen;
    for (const std::size_t pair : best->pairs) covered[pair] = true;
    chosen.push_back(best->variant);
  }
}

}  // namespace strobe::jit
