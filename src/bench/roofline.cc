#include "bench/roofline.h"

#include <algorithm>

namespace strobe::bench {

Traffic traffic_of(const op::Operator& op, const void* args, const op::Cost& cost) {
  double inputs = 0, outputs = 0, in_out = 0;
  for (const op::Operand& operand : op.operands) {
    if (!operand.of(args).given()) continue;
    const auto bytes = static_cast<double>(operand.of(args).bytes());
    (operand.role == op::Role::kInput    ? inputs
     : operand.role == op::Role::kOutput ? outputs
                                         : in_out) += bytes;
  }
  const bool whole = inputs + outputs + 2 * in_out <= cost.bytes * (1 + 1e-6);
  const double written =
      std::min(cost.bytes, whole ? outputs + in_out : std::max(outputs, cost.bytes - inputs));
  return {cost.bytes - written, written, whole ? cost.bytes - in_out : cost.bytes};
}

std::string_view name(Bound bound) { return bound == Bound::kMemory ? "memory" : "compute"; }

namespace {

// Of the narrowest arithmetic that may take that dtype and is known; 0: of none. A GPU's limits have no FMA
// peak, and its matrix products take f16 as fast as bf16.
double peak_gflops(Dtype math, const LimitRates& limits) {
  const bool fp8 = math == Dtype::kE4m3 || math == Dtype::kE5m2;
  if (fp8 && limits.e4m3_dot_gflops > 0) return limits.e4m3_dot_gflops;
  const bool on_gpu = limits.fma_gflops == 0;
  const bool bf16 = fp8 || math == Dtype::kBf16 || (math == Dtype::kF16 && on_gpu);
  return bf16 && limits.bf16_dot_gflops > 0 ? limits.bf16_dot_gflops : limits.fma_gflops;
}

}  // namespace

Floor floor_of(const op::Cost& cost, const Traffic& traffic, const LimitRates& limits) {
  const double read = 1e-9 / limits.dram_read_gbs;
  const double write = std::max(0.0, 2e-9 / limits.copy_gbs - read);
  const double memory = traffic.read_bytes * read + traffic.written_bytes * write;
  const double peak = peak_gflops(cost.math, limits);
  const double compute = peak > 0 ? cost.flops * 1e-9 / peak : 0;
  return compute > memory ? Floor{compute, Bound::kCompute} : Floor{memory, Bound::kMemory};
}

LimitRates larger(const LimitRates& a, const LimitRates& b) {
  return {.dram_read_gbs = std::max(a.dram_read_gbs, b.dram_read_gbs),
          .copy_gbs = std::max(a.copy_gbs, b.copy_gbs),
          .fma_gflops = std::max(a.fma_gflops, b.fma_gflops),
          .bf16_dot_gflops = std::max(a.bf16_dot_gflops, b.bf16_dot_gflops),
          .e4m3_dot_gflops = std::max(a.e4m3_dot_gflops, b.e4m3_dot_gflops)};
}

LimitRates smaller(const LimitRates& a, const LimitRates& b) {
  return {.dram_read_gbs = std::min(a.dram_read_gbs, b.dram_read_gbs),
          .copy_gbs = std::min(a.copy_gbs, b.copy_gbs),
          .fma_gflops = std::min(a.fma_gflops, b.fma_gflops),
          .bf16_dot_gflops = std::min(a.bf16_dot_gflops, b.bf16_dot_gflops),
          .e4m3_dot_gflops = std::min(a.e4m3_dot_gflops, b.e4m3_dot_gflops)};
}

}  // namespace strobe::bench
