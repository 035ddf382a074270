#include "bench/text_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace strobe::bench {
namespace {

std::string isa_list(const Machine& machine) {
  std::vector<std::string_view> names;
  for (cpu::Isa level : machine.isa_levels) names.push_back(cpu::name(level));
  return fmt::format("{}", fmt::join(names, " "));
}

// What the bound limits: GB/s of memory, or GFLOP/s.
std::string rate_text(const Row& row) {
  const double seconds = row.timing.median();
  if (row.floor.bound == Bound::kMemory) return fmt::format("{:.2f} GB/s", row.cost.bytes / seconds * 1e-9);
  return fmt::format("{:.1f} GFLOP/s", row.cost.flops / seconds * 1e-9);
}

}  // namespace

std::string machine_text(const Machine& machine) {
  return fmt::format("{}, {} CPUs, {} memory, caches {} / {} / {}, levels {}\n", machine.cpu, machine.cpus,
                     bytes_text(static_cast<double>(machine.memory_bytes)),
                     bytes_text(static_cast<double>(machine.caches.l1d)),
                     bytes_text(static_cast<double>(machine.caches.l2)),
                     bytes_text(static_cast<double>(machine.caches.llc)), isa_list(machine));
}

std::string gpu_text(const GpuFacts& gpu) {
  return fmt::format("{}: {}, {}, {} SMs, {} memory, {} L2, driver for CUDA {}{}\n", gpu.device, gpu.name,
                     gpu.architecture, gpu.sm_count, bytes_text(static_cast<double>(gpu.memory_bytes)),
                     bytes_text(static_cast<double>(gpu.l2_bytes)), gpu.driver,
                     gpu.no_matrix_peak.empty() ? "" : "; no matrix peak: " + gpu.no_matrix_peak);
}

std::string limits_text(std::string_view label, std::span<const Limits> levels) {
  std::string text;
  for (const Limits& limits : levels) {
    const std::string place = limits.threads > 0 ? fmt::format("{} threads, {}", limits.threads, limits.isa)
                                                 : fmt::format("{}, {}", limits.device, limits.isa);
    text += fmt::format("{:<14} {}: DRAM read {:.1f} GB/s, copy {:.1f} GB/s", label, place,
                        limits.max.dram_read_gbs, limits.max.copy_gbs);
    if (limits.max.fma_gflops > 0) text += fmt::format(", FMA {:.0f} GFLOP/s", limits.max.fma_gflops);
    if (limits.max.bf16_dot_gflops > 0)
      text += fmt::format(", bf16 dot {:.0f} GFLOP/s", limits.max.bf16_dot_gflops);
    if (limits.max.e4m3_dot_gflops > 0)
      text += fmt::format(", e4m3 dot {:.0f} GFLOP/s", limits.max.e4m3_dot_gflops);
    text += "\n";
  }
  return text;
}

std::string row_header() {
  return fmt::format("{:<22} {:<11} {:>10} {:>10} {:>15} {:>8} {:<7} {:<7} {}\n", "routine", "isa",
                     "median ms", "min ms", "rate", "of limit", "bound", "check", "case");
}

std::string row_text(const Row& row) {
  const std::string& tag = row.options.case_tag;
  std::string text =
      fmt::format("{:<22} {:<11} {:>10.4f} {:>10.4f} {:>15} {:>8.3f} {:<7} {:<7} {}\n", row.routine,
                  row.on_gpu() ? row.backend : row.isa, row.timing.median() * 1e3, row.timing.min() * 1e3,
                  rate_text(row), row.fraction(), name(row.floor.bound),
                  !row.check          ? "-"
                  : row.check->passed ? "pass"
                                      : "FAIL",
                  tag.empty() ? row.flags : fmt::format("{} [{}]", row.flags, tag));
  if (row.failed()) text += fmt::format("  reference check failed: {}\n", row.check->worst);
  if (row.options.verbosity == 0)
    return row.options.generate_repro_command ? fmt::format("{}  {}\n", text, row.repro) : text;
  text += fmt::format("  std {:.4f} ms over {} calls on {} instances", row.timing.deviation() * 1e3,
                      row.timing.seconds.size(), row.instances);
  if (const int outliers = row.timing.outliers(); outliers > 0)
    text += fmt::format(", {} outliers", outliers);
  if (row.calls_per_sample > 1) text += fmt::format(", {} calls in each time", row.calls_per_sample);
  if (row.plan_seconds) text += fmt::format(", plan {:.1f} us", *row.plan_seconds * 1e6);
  if (row.check)
    text += fmt::format(", max error {:.3g} (relative {:.3g}) over {} elements", row.check->max_abs_error,
                        row.check->max_rel_error, row.check->elements);
  text += fmt::format("\n  limits here: DRAM read {:.1f} GB/s, copy {:.1f} GB/s", row.limits.dram_read_gbs,
                      row.limits.copy_gbs);
  if (row.limits.fma_gflops > 0) text += fmt::format(", FMA {:.0f} GFLOP/s", row.limits.fma_gflops);
  if (row.limits.bf16_dot_gflops > 0)
    text += fmt::format(", bf16 dot {:.0f} GFLOP/s", row.limits.bf16_dot_gflops);
  if (row.limits.e4m3_dot_gflops > 0)
    text += fmt::format(", e4m3 dot {:.0f} GFLOP/s", row.limits.e4m3_dot_gflops);
  return fmt::format("{}\n  {}\n", text, row.repro);
}

}  // namespace strobe::bench
