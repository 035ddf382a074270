#include "bench/compare/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>

#include "bench/machine.h"
#include "core/message.h"

namespace strobe::bench {
namespace {

auto key_of(const ResultRow& row) {
  std::map<std::string, std::string> values(row.values.begin(), row.values.end());
  return std::tuple(row.routine, std::move(values), row.backend, row.device, row.isa, row.threads);
}

// Of the run's limits at a row's level; those beside the row where the run has none of it.
LimitRange range_of(const ResultFile& file, const ResultRow& row) {
  LimitRange range{row.limits, row.limits};
  bool found = false;
  for (const auto* list : {&file.before, &file.after})
    for (const Limits& level : *list) {
      if (level.device != row.device || level.isa != row.isa || level.threads != row.threads) continue;
      range.low = found ? smaller(range.low, level.max) : level.max;
      range.high = found ? larger(range.high, level.max) : level.max;
      found = true;
    }
  return range;
}

bool same_processor(const ResultMachine& a, const ResultMachine& b) {
  return a.cpu == b.cpu && a.l2_bytes == b.l2_bytes && a.llc_bytes == b.llc_bytes && a.gpus == b.gpus;
}

std::vector<Difference> differences_of(const ResultFile& a, const ResultFile& b) {
  const auto levels = [](const ResultFile& file) {
    return fmt::format("{}", fmt::join(file.machine.isa_levels, " "));
  };
  const auto caches = [](const ResultFile& file) {
    return fmt::format("{} / {} / {}", bytes_text(file.machine.l1d_bytes), bytes_text(file.machine.l2_bytes),
                       bytes_text(file.machine.llc_bytes));
  };
  const Difference all[] = {
      {"version", a.version, b.version},
      {"commit", a.commit, b.commit},
      {"machine.cpu", a.machine.cpu, b.machine.cpu},
      {"machine.system", a.machine.system, b.machine.system},
      {"machine.cpus", std::to_string(a.machine.cpus), std::to_string(b.machine.cpus)},
      {"machine.memory_bytes", bytes_text(a.machine.memory_bytes), bytes_text(b.machine.memory_bytes)},
      {"machine caches", caches(a), caches(b)},
      {"machine.isa_levels", levels(a), levels(b)},
      {"machine.gpus", fmt::format("{}", fmt::join(a.machine.gpus, ", ")),
       fmt::format("{}", fmt::join(b.machine.gpus, ", "))},
  };
  std::vector<Difference> result;
  std::copy_if(std::begin(all), std::end(all), std::back_inserter(result),
               [](const Difference& d) { return d.a != d.b; });
  return result;
}

void expect_pairs(const Comparison& comparison, const ResultFile& a, const ResultFile& b) {
  for (const ResultFile* file : {&a, &b})
    if (file->rows.empty())
      fail(ErrorKind::kInvalidArgument, "compare: {}: expected rows of cases, got none{}", file->name,
           file->workload ? " (workloads are not compared)" : "");
  if (comparison.cases.empty())
    fail(ErrorKind::kInvalidArgument, "compare: {} and {} have no case in common ({} and {} rows)", a.name,
         b.name, a.rows.size(), b.rows.size());
}

}  // namespace

std::size_t Comparison::count(Verdict verdict) const {
  return static_cast<std::size_t>(std::count_if(
      cases.begin(), cases.end(), [=](const ComparedCase& c) { return c.result.verdict == verdict; }));
}

Comparison compare(const ResultFile& a, const ResultFile& b, double threshold) {
  Comparison result{
      .threshold = threshold, .cases = {}, .only_a = {}, .only_b = {}, .differences = differences_of(a, b)};
  std::multimap<decltype(key_of(a.rows.front())), const ResultRow*> waiting;  // equal keys stay in order
  for (const ResultRow& row : b.rows) waiting.emplace(key_of(row), &row);
  for (const ResultRow& row : a.rows) {
    const auto found = waiting.lower_bound(key_of(row));
    if (found == waiting.end() || found->first != key_of(row)) {
      result.only_a.push_back(&row);
      continue;
    }
    const ResultRow& other = *found->second;
    result.cases.push_back({&row, &other,
                            judge(row, other, threshold, range_of(a, row), range_of(b, other),
                                  same_processor(a.machine, b.machine))});
    waiting.erase(found);
  }
  for (const ResultRow& row : b.rows)
    if (std::any_of(waiting.begin(), waiting.end(), [&](const auto& entry) { return entry.second == &row; }))
      result.only_b.push_back(&row);
  expect_pairs(result, a, b);
  return result;
}

double parse_threshold(const std::string& text) {
  double percent = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, percent);
  const bool complete = parsed.ec == std::errc{} && parsed.ptr + 1 == end && *parsed.ptr == '%';
  if (!complete || !(percent > 0 && percent <= 1000))
    fail(ErrorKind::kInvalidArgument,
         "--threshold: expected a percentage above 0 and at most 1000, such as 5%, got '{}'", text);
  return percent / 100;
}

}  // namespace strobe::bench
