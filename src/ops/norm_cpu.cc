#include "ops/norm_cpu.h"

#include "cpu/parallel.h"
#include "ops/row_views.h"

namespace strobe::op {

void run_norm(const cpu::PerIsa<void(const cpu::NormRows&, std::int64_t, std::int64_t)>& kernel,
              cpu::NormRows rows, const NormOperands& operands) {
  const TensorView& input = operands.input;
  const TensorView& out = operands.out;
  const TensorView& residual = operands.residual != nullptr ? *operands.residual : input;
  const RowBlocks blocks(input, residual, out);
  rows.weight = operands.weight.data;
  rows.bias = operands.bias != nullptr ? operands.bias->as<float>() : nullptr;
  rows.input_stride = blocks.stride(0);
  rows.residual_stride = blocks.stride(1);
  rows.out_stride = blocks.stride(2);
  rows.hidden = operands.weight.shape[0];
  rows.dtype = input.dtype;
  rows.out_dtype = out.dtype;
  // In place, the lines to write are in the cache already.
  rows.stream = out.data != input.data && cpu::writes_past_caches(out.bytes());
  const std::size_t bytes = size_of(input.dtype) +
                            (operands.residual != nullptr ? 2 * size_of(residual.dtype) : 0) +
                            size_of(out.dtype);
  auto* run = *kernel;
  blocks.parallel(
      rows.hidden * static_cast<std::int64_t>(bytes),
      [&](std::int64_t begin, std::int64_t end, void* input_rows, void* residual_rows, void* out_rows) {
        cpu::NormRows block = rows;
        block.input = input_rows;
        block.residual = operands.residual != nullptr ? residual_rows : nullptr;
        block.out = out_rows;
        run(block, begin, end);
      });
}

}  // namespace strobe::op
