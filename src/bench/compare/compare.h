// Two result files, case by case.
#pragma once

#include <string>
#include <vector>

#include "bench/compare/verdict.h"
#include "bench/result_file.h"

namespace strobe::bench {

struct ComparedCase {
  const ResultRow* a;
  const ResultRow* b;
  CaseVerdict result;
};

// A field that is not the same in both files.
struct Difference {
  std::string field, a, b;
};

// Points into the two files.
struct Comparison {
  double threshold = 0;
  std::vector<ComparedCase> cases;  // in A's order
  std::vector<const ResultRow*> only_a, only_b;
  std::vector<Difference> differences;

  std::size_t count(Verdict verdict) const;
};

// Pairs rows by routine, case, backend, device, level and threads; rows that are there several times pair in
// their order. Throws Error(kInvalidArgument) when there is no pair.
Comparison compare(const ResultFile& a, const ResultFile& b, double threshold);

// 0.05 of "5%". Throws Error(kInvalidArgument) for what is no percentage above 0 and at most 1000%.
double parse_threshold(const std::string& text);

// "2 slower, 38 same, 1 only in A", of what there is.
std::string summary_text(const Comparison& comparison);
// What the command prints.
std::string comparison_text(const Comparison& comparison, const ResultFile& a, const ResultFile& b);

}  // namespace strobe::bench
