// Planned attention with a user's hooks on the CPU.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "ops/attention_batch.h"
#include "ops/attention_params.h"
#include "plan/device_work_list.h"

namespace strobe::ops {

class CpuVariantAttention {
 public:
  // Compiles the variant for the active instruction-set level, where nothing has yet.
  void plan(const AttentionShape& shape, const AttentionOptions& options);
  // Allocates nothing and takes no lock.
  void run(std::string_view op_name, const AttentionTensors& tensors);
  std::size_t workspace_bytes() const { return static_cast<std::size_t>(workspace_floats_) * sizeof(float); }

 private:
  using Kernel = void(const kernel::VariantParams& params, int index, int kv_head, float* scratch);

  void plan_work(const AttentionShape& shape, const AttentionOptions& options);
  void plan_workspace();
  void for_heads(std::size_t count, Kernel* kernel);

  const VariantRecord* variant_ = nullptr;
  Kernel *attend_ = nullptr, *merge_ = nullptr;
  std::vector<plan::AttentionRequest> requests_;
  plan::DeviceListMaker maker_;
  plan::DeviceWorkList list_;
  int workers_ = 1;
  std::int32_t max_rows_ = 0;  // of an item
  std::size_t scratch_ = 0;    // floats of a worker
  std::int64_t workspace_floats_ = 0;
  Tensor workspace_;  // workers' scratch, then partial outputs, then their lse; at least that large
  PlannedScales scales_;
  kernel::VariantParams params_{};
};

}  // namespace strobe::ops
