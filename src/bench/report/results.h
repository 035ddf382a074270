// All rows of the files of one page, and how to say what tells them apart.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/result_file.h"

namespace strobe::bench::report {

// Result files of one machine. Throws Error(kInvalidArgument) that says what differs otherwise, and when
// there is no row and no workload in any of them.
class Results {
 public:
  explicit Results(std::vector<ResultFile> files);

  const std::vector<ResultFile>& files() const { return files_; }
  const std::vector<const ResultRow*>& rows() const { return rows_; }
  std::vector<const ResultRow*> rows_where(const std::function<bool(const ResultRow&)>& wanted) const;
  std::vector<const ResultWorkload*> workloads() const;

  // "avx2, 4 threads": of these, what is not the same in all rows.
  std::string variant(const ResultRow& row) const;
  // "avx512_bf16, 2 threads": what is the same in all rows and workloads.
  std::string shared_variant() const;

 private:
  std::vector<ResultFile> files_;
  std::vector<const ResultRow*> rows_;
  bool levels_differ_ = false, threads_differ_ = false, backends_differ_ = false;
};

// "--batch_size 16 --page_size=64" as pairs of name and value.
ResultValues flags_of(const std::string& flags);
// "batch_size 16 · page_size 64", or "defaults".
std::string case_text(const ResultRow& row);
// Everything about a row in one line, for the tip of its point.
std::string row_tip(const ResultRow& row);
// Memory rate or arithmetic rate, whichever its bound limits.
std::string rate_text(const ResultRow& row);

double median_of(std::vector<double> values);

}  // namespace strobe::bench::report
