#include "bench/rehearse.h"

#include "jit/rehearsal.h"
#include "op/device_operands.h"

namespace strobe::bench {

std::vector<jit::Variant> kernels_of(const BenchCase& bench_case, cuda::Architecture architecture) {
  const op::Operator& op = *bench_case.routine.op;
  if (!op.has(Backend::kCudaSm80) && !op.has(Backend::kCudaSm90)) return {};
  const op::FillNothing untouched;
  op::Random random(0);
  const op::Problem problem = bench_case.routine.routine.make(op, bench_case.values, random);
  for (const op::Operand& operand : op.operands) {
    TensorView& view = operand.view(problem.args.get());
    if (!operand.on_host && view.given()) view.device = {DeviceType::kCuda, 0};
  }
  op::set_planned_device(op, problem.args.get(), {DeviceType::kCuda, 0});
  jit::Rehearsal rehearsal(architecture);
  if (problem.plan) problem.plan();
  problem.run();
  return rehearsal.variants();
}

}  // namespace strobe::bench
