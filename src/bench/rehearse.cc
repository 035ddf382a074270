#include "bench/rehearse.h"

#include "jit/rehearsal.h"
#include "op/call.h"

namespace strobe::bench {
namespace {

bool has_cuda_backend(const op::Operator& op) {
  return op.backends[static_cast<std::size_t>(Backend::kCudaSm80)] != nullptr ||
         op.backends[static_cast<std::size_t>(Backend::kCudaSm90)] != nullptr;
}

}  // namespace

std::vector<jit::Variant> kernels_of(const BenchCase& bench_case, cuda::Architecture architecture) {
  const op::Operator& op = *bench_case.routine.op;
  if (!has_cuda_backend(op)) return {};
  const op::FillNothing untouched;
  op::Random random(0);
  const op::Problem problem = bench_case.routine.routine.make(op, bench_case.values, random);
  for (const op::Operand& operand : op.operands) {
    TensorView& view = operand.view(problem.args.get());
    if (!operand.on_host && view.given()) view.device = {DeviceType::kCuda, 0};
  }
  jit::Rehearsal rehearsal(architecture);
  op::call_erased(op, problem.args.get(), {});
  return rehearsal.variants();
}

}  // namespace strobe::bench
