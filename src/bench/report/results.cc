#include "bench/report/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "bench/report/format.h"
#include "bench/workload/step_stats.h"
#include "core/message.h"

namespace strobe::bench::report {
namespace {

std::string threads_text(int threads) {
  return threads == 1 ? "1 thread" : fmt::format("{} threads", threads);
}

std::string joined_with(const std::vector<std::string>& parts, const char* between) {
  return fmt::format("{}", fmt::join(parts, between));
}

void expect_one_machine(const std::vector<ResultFile>& files) {
  for (const ResultFile& file : files)
    if (file.machine.cpu != files.front().machine.cpu || file.machine.cpus != files.front().machine.cpus)
      fail(
          ErrorKind::kInvalidArgument,
          "report: expected results of one machine, got {} ({}, {} CPUs) and {} ({}, {} CPUs); `strobe bench "
          "compare` holds two machines against each other",
          files.front().name, files.front().machine.cpu, files.front().machine.cpus, file.name,
          file.machine.cpu, file.machine.cpus);
}

}  // namespace

Results::Results(std::vector<ResultFile> files) : files_(std::move(files)) {
  expect_one_machine(files_);
  for (const ResultFile& file : files_)
    for (const ResultRow& row : file.rows) rows_.push_back(&row);
  if (rows_.empty() && workloads().empty())
    fail(ErrorKind::kInvalidArgument, "report: {}: no row and no workload to show",
         files_.empty() ? "no file" : files_.front().name);
  for (const ResultRow* row : rows_) {
    levels_differ_ |= row->isa != rows_.front()->isa;
    threads_differ_ |= row->threads != rows_.front()->threads;
    backends_differ_ |= row->backend != rows_.front()->backend || row->device != rows_.front()->device;
  }
}

std::vector<const ResultRow*> Results::rows_where(const std::function<bool(const ResultRow&)>& wanted) const {
  std::vector<const ResultRow*> found;
  for (const ResultRow* row : rows_)
    if (wanted(*row)) found.push_back(row);
  return found;
}

std::vector<const ResultWorkload*> Results::workloads() const {
  std::vector<const ResultWorkload*> found;
  for (const ResultFile& file : files_)
    if (file.workload) found.push_back(&*file.workload);
  return found;
}

std::string Results::variant(const ResultRow& row) const {
  std::vector<std::string> parts;
  if (backends_differ_)
    parts.push_back(row.backend == row.device ? row.backend : row.backend + " on " + row.device);
  if (levels_differ_) parts.push_back(row.isa);
  if (threads_differ_ && row.threads > 0) parts.push_back(threads_text(row.threads));
  return joined_with(parts, ", ");
}

std::string Results::shared_variant() const {
  const std::string isa = rows_.empty() ? workloads().front()->isa : rows_.front()->isa;
  const int threads = rows_.empty() ? workloads().front()->threads : rows_.front()->threads;
  std::vector<std::string> parts;
  if (!levels_differ_) parts.push_back(isa);
  if (!threads_differ_ && threads > 0) parts.push_back(threads_text(threads));
  return joined_with(parts, ", ");
}

ResultValues flags_of(const std::string& flags) {
  ResultValues values;
  std::istringstream words(flags);
  for (std::string word; words >> word;) {
    if (!word.starts_with("--") && !values.empty() && values.back().second.empty()) {
      values.back().second = word;
      continue;
    }
    const std::size_t equals = word.find('='), start = word.starts_with("--") ? 2 : 0;
    if (equals == std::string::npos)
      values.emplace_back(word.substr(start), "");
    else
      values.emplace_back(word.substr(start, equals - start), word.substr(equals + 1));
  }
  for (auto& [name, value] : values)
    if (value.empty()) value = "true";
  return values;
}

std::string case_text(const ResultRow& row) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : flags_of(row.flags)) parts.push_back(name + "\u00a0" + value);
  return parts.empty() ? "defaults" : joined_with(parts, " · ");
}

std::string rate_text(const ResultRow& row) {
  return row.bound == Bound::kMemory ? gigabytes_per_second(row.gbs()) : gigaflops(row.gflops());
}

std::string row_tip(const ResultRow& row) {
  return fmt::format("{}, {}: {}, {}, {} of the {} limit", row.routine, case_text(row),
                     milliseconds(row.median_ms), rate_text(row), percent(row.fraction), name(row.bound));
}

double median_of(std::vector<double> values) { return percentile(std::move(values), 0.5); }

}  // namespace strobe::bench::report
