// The least time that a call can take on this machine, from its cost and the machine's measured limits.
#pragma once

#include <string_view>

#include "bench/limits.h"
#include "op/operator.h"

namespace strobe::bench {

// A call's memory traffic, read and written apart.
struct Traffic {
  double read_bytes = 0;
  double written_bytes = 0;
  double touched_bytes = 0;  // distinct memory: what is read and written in place counts once
};

// Splits cost.bytes by the operands' roles: outputs are written, in/out operands read and written. Where the
// cost has no room for a whole in/out operand in both directions, the call touches a part of it only and what
// is not input is written: a cache append.
Traffic traffic_of(const op::Operator& op, const void* args, const op::Cost& cost);

enum class Bound { kMemory, kCompute };
std::string_view name(Bound bound);  // "memory", "compute"

// memory: a byte read takes 1 / dram_read. A copy reads half of its bytes and writes the other half, so a
// byte written takes
//   2 / copy - 1 / dram_read (not less than 0). Pure reads are thus held against dram_read, equal parts
//   against copy, and any other mix against what lies between.
// compute: FLOPs over the peak of e4m3 or bf16 products when the cost is in such a dtype and the device has
// that instruction, else over the FMA peak; nothing where that is not known. The longer of the two is the
// floor.
struct Floor {
  double seconds = 0;
  Bound bound = Bound::kMemory;
};
Floor floor_of(const op::Cost& cost, const Traffic& traffic, const LimitRates& limits);

// The larger of each rate. Neighbours on the machine only slow a measurement down, so the larger one is
// nearer to what the machine can do, and no fraction of it flatters.
LimitRates larger(const LimitRates& a, const LimitRates& b);
LimitRates smaller(const LimitRates& a, const LimitRates& b);

}  // namespace strobe::bench
