#include "ffi/plan_arguments.h"

#include <cstring>

namespace strobe::ffi {
namespace {

std::size_t units(const TensorView& view) {
  return (static_cast<std::size_t>(view.bytes()) + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t);
}

bool is_copied(const op::Operand& operand, const void* args) {
  return operand.phase == op::Phase::kPlan && operand.on_host && operand.of(args).given();
}

}  // namespace

void PlanArguments::keep(const op::Operator& op, const std::byte* args) {
  args_.assign(args, args + op.args_size);
  std::size_t total = 0;
  for (const op::Operand& operand : op.operands)
    if (is_copied(operand, args)) total += units(operand.of(args));
  if (copies_.size() < total) copies_.resize(total);
  std::max_align_t* to = copies_.data();
  for (const op::Operand& operand : op.operands) {
    if (!is_copied(operand, args)) continue;
    TensorView& view = operand.view(args_.data());
    std::memcpy(to, view.data, static_cast<std::size_t>(view.bytes()));  // dense, as the plan has checked
    view.data = to;
    to += units(view);
  }
}

}  // namespace strobe::ffi
