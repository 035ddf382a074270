// Planned attention on the CPU: the work list, the workspace, and the run over the executor.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cpu/attention/attention_kernel.h"
#include "ops/attention_batch.h"
#include "plan/work_list.h"

namespace strobe::ops {

class CpuAttention {
 public:
  void plan(const AttentionShape& shape, const AttentionOptions& options);
  // Allocates nothing and takes no lock.
  void run(const AttentionTensors& tensors);
  std::size_t workspace_bytes() const;

 private:
  void plan_workspace();
  void run_call(std::int32_t call, int worker);
  void finish_part(const plan::WorkItem& item, const plan::WorkCall& call, void* scratch);

  struct Free {
    void operator()(void* p) const;
  };
  using Buffer = std::unique_ptr<void, Free>;
  static Buffer allocate(std::size_t bytes);

  cpu::AttentionProblem problem_{};
  float qk_scale_ = 1, v_scale_ = 1;  // the plan's
  plan::WorkList work_;
  std::vector<cpu::AttentionItem> parts_;  // of work_.parts, as the kernel takes them
  std::vector<float> alibi_slopes_, rope_inv_freq_;
  int workers_ = 1;
  std::size_t scratch_bytes_ = 0;  // of one worker
  std::size_t partial_bytes_ = 0;
  std::size_t workspace_capacity_ = 0;
  Buffer workspace_;  // workers' scratch, then partial outputs, then their lse
  std::size_t counter_capacity_ = 0;
  std::unique_ptr<std::atomic<std::int32_t>[]>
      parts_done_;  // for each merge group and first KV head of a call
  // The kernels of the level that was active at plan time.
  decltype(*cpu::attention_item) item_kernel_ = nullptr;
  decltype(*cpu::attention_merge) merge_kernel_ = nullptr;
};

}  // namespace strobe::ops
