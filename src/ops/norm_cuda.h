// The norms on NVIDIA GPUs.
#pragma once

#include <cstdint>
#include <string_view>

#include "norm/norm_form.h"
#include "op/operator.h"

namespace strobe::op {

struct NormCudaOperands {
  const TensorView& input;
  const TensorView* residual = nullptr;  // of kAddRms
  const TensorView& weight;
  const TensorView* bias = nullptr;  // of kLayer
  const TensorView& out;
};

struct NormFactors {
  float eps = 0;
  float weight_offset = 0;  // added to the weight
  float out_factor = 1;     // of a quantised output
};

void run_norm_cuda(std::string_view op_name, kernel::NormForm form, const NormCudaOperands& operands,
                   const NormFactors& factors, const Launch& launch);

// How a norm is cut up, by the constants of kernels/norm/norm.cuh.
struct NormChoice {
  int vector = 1, items = 1, row_threads = 32;
  bool long_rows = false, few_rows = false;
  std::int64_t blocks = 0;

  int threads() const { return row_threads < 128 ? 256 : row_threads; }
  int block_rows() const { return threads() / row_threads; }
};

struct NormShape {
  kernel::NormForm form = kernel::NormForm::kRms;
  std::int64_t rows = 0, hidden = 0;
  int vector = 8;     // elements that an access may have
  int out_bytes = 2;  // of an element
};

NormChoice choose_norm(const NormShape& shape, int sm_count);

}  // namespace strobe::op
