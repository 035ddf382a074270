#include <fmt/format.h>

#include "bench/compare/compare.h"

namespace strobe::bench {
namespace {

constexpr Verdict kOrder[] = {Verdict::kSlower, Verdict::kFaster, Verdict::kSame, Verdict::kNotResolved,
                              Verdict::kMachineChanged};

std::string file_text(std::string_view label, const ResultFile& file) {
  std::string text = fmt::format("{}  {}: strobe {}, commit {}, {}\n", label, file.name, file.version,
                                 file.commit, file.date);
  for (std::size_t i = 0; i < file.before.size() && i < file.after.size(); ++i) {
    const LimitRates &before = file.before[i].max, &after = file.after[i].max;
    const Limits& limits = file.before[i];
    text += fmt::format(
        "   limits before and after, {}, {}: DRAM read {:.1f} and {:.1f} GB/s, copy {:.1f} and {:.1f} GB/s",
        limits.isa, limits.threads > 0 ? fmt::format("{} threads", limits.threads) : limits.device,
        before.dram_read_gbs, after.dram_read_gbs, before.copy_gbs, after.copy_gbs);
    if (before.fma_gflops > 0)
      text += fmt::format(", FMA {:.0f} and {:.0f} GFLOP/s", before.fma_gflops, after.fma_gflops);
    text += "\n";
  }
  return text;
}

double spread(const ResultRow& row) { return 100 * row.std_ms / row.median_ms; }

std::string case_line(const ComparedCase& c) {
  const auto& [verdict, ratio, reason] = c.result;
  std::string text = fmt::format(
      "{:<15} {:>6.3f} {:>6.3f} {:>6.3f} {:>10.4f} {:>6.1f}% {:>10.4f} {:>6.1f}% {:>7.2f}  {} {}\n",
      name(verdict), ratio.median, ratio.low, ratio.high, c.a->median_ms, spread(*c.a), c.b->median_ms,
      spread(*c.b), ratio.machine, c.a->routine, c.a->flags);
  if (!reason.empty()) text += fmt::format("                {}\n", reason);
  if (c.b->check.state == "fail")
    text += fmt::format("                reference check failed in B: {}\n", c.b->check.message);
  return text;
}

}  // namespace

std::string summary_text(const Comparison& comparison) {
  std::string text;
  const auto add = [&](std::size_t count, std::string_view what) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, what);
  };
  for (Verdict verdict : kOrder) add(comparison.count(verdict), name(verdict));
  add(comparison.only_a.size(), "only in A");
  add(comparison.only_b.size(), "only in B");
  return text;
}

std::string comparison_text(const Comparison& comparison, const ResultFile& a, const ResultFile& b) {
  std::string text = file_text("A", a) + file_text("B", b);
  for (const Difference& d : comparison.differences)
    text += fmt::format("differs: {}: '{}' in A, '{}' in B\n", d.field, d.a, d.b);
  text += fmt::format("{:<15} {:>6} {:>6} {:>6} {:>10} {:>7} {:>10} {:>7} {:>7}  {}\n", "verdict", "B/A",
                      "from", "to", "A ms", "spread", "B ms", "spread", "machine", "case");
  for (const ComparedCase& c : comparison.cases) text += case_line(c);
  for (const ResultRow* row : comparison.only_a)
    text += fmt::format("only in A: {} {}\n", row->routine, row->flags);
  for (const ResultRow* row : comparison.only_b)
    text += fmt::format("only in B: {} {}\n", row->routine, row->flags);
  return text + fmt::format("{} (threshold {:g}%)\n", summary_text(comparison), comparison.threshold * 100);
}

}  // namespace strobe::bench
