// The variants that the process knows, and their text as a compiler gets it.
#pragma once

#include <string>

#include "attention/variant_params.h"
#include "ops/attention_variant_cuda.h"
#include "strobe/attention_variant.h"

namespace strobe::ops {

inline constexpr std::size_t kVariantHeader = 2;  // slots before a variant's arguments: its id, their device

// Lives as long as the process.
struct VariantRecord {
  int id = 0;
  AttentionVariantText text;
  // Declarations, Params, the text, and the name by which the kernels know it. Headers go before and after.
  std::string source;
  op::VariantKernels cuda;    // those for GPUs
  bool changes_rows = false;  // the text names a hook of queries or keys

  std::size_t arguments() const { return text.tensors.size() + text.scalars.size(); }
};

// Null when there is none of that id.
const VariantRecord* find_variant(AttentionVariant variant);

// The arguments of a run for a plan with `variant` on `device`; rejects those of others.
void read_variant_arguments(std::string_view op_name, const VariantRecord& variant, Device device,
                            const TensorView& arguments, kernel::VariantParams& params);

}  // namespace strobe::ops
