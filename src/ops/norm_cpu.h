// What the declarations of the norms share: running the row kernels, axis numbers, accuracy.
#pragma once

#include "cpu/norm_kernel.h"
#include "op/operator.h"

namespace strobe::op {

// Numbers in these declarations.
inline constexpr int kNormHidden = 1;    // the axis; 0 is num_tokens
inline constexpr int kNormResidual = 1;  // the operand, in the fused forms; 0 is input

// The operands of one call; `residual` and `bias` are null where the form has none.
struct NormOperands {
  const TensorView& input;
  const TensorView* residual = nullptr;
  const TensorView& weight;
  const TensorView* bias = nullptr;
  const TensorView& out;
};

// Runs a kernel over all rows. `rows` says eps, weight_offset and out_factor; the rest follows from the
// operands.
void run_norm(const cpu::PerIsa<void(const cpu::NormRows&, std::int64_t, std::int64_t)>& kernel,
              cpu::NormRows rows, const NormOperands& operands);

// The norm sums a row; the residual is one addition.
struct NormAccuracy {
  template <class Args>
  Accuracy operator()(const Args&, const Axes& axes, int) const {
    return {.reduction = axes[kNormHidden]};
  }
};
struct FusedNormAccuracy {
  template <class Args>
  Accuracy operator()(const Args&, const Axes& axes, int operand) const {
    return {.reduction = operand == kNormResidual ? 1 : axes[kNormHidden]};
  }
};

}  // namespace strobe::op
