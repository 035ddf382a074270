// Planned attention on an NVIDIA GPU: the work lists and their way to the device, the workspace, and the run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/event.h"
#include "cuda/pinned_upload.h"
#include "ops/attention_batch.h"
#include "ops/attention_cuda_shape.h"
#include "ops/attention_decode_plan_cuda.h"
#include "ops/attention_params.h"
#include "ops/attention_sm90_cuda.h"
#include "ops/cuda_rows.h"
#include "plan/device_work_list.h"

namespace strobe::ops {

class GpuAttention {
 public:
  struct Target {
    std::string_view op_name;  // for messages; lives as long as the program
    Device device;
    Stream stream;
    AttentionCapacity capacity;
    TensorView workspace;
    Backend backend = Backend::kAuto;  // that the caller has asked for
  };
  // The lowest and highest page number of a plan; -1 as the highest: there are none.
  struct Pages {
    std::int32_t lowest = 0, highest = -1;
  };

  // Copies everything it needs. Waits for nothing but the copy of the plan before the last one.
  void plan(const AttentionShape& shape, const AttentionOptions& options, const Target& target);
  // The same where `indices` and `kv_indices` are on the device, whose lengths only the decode kernel takes.
  // May be captured, but for the first time.
  void plan_on_device(const AttentionShape& shape, const AttentionOptions& options, const Target& target,
                      const op::DeviceIndices& indices, const std::int32_t* kv_indices);
  // Launches and nothing else.
  void run(const AttentionTensors& tensors, const Launch& launch);

  std::size_t workspace_bytes() const { return workspace_bytes_; }
  const Pages& pages() const { return pages_; }
  // Whose kernels a run takes: kCudaSm90 where any of them is Hopper's own.
  Backend backend_for(const AttentionTensors& tensors);
  // The names of its kernels, but for the merge.
  std::string kernels_for(const AttentionTensors& tensors);
  // The page numbers of the last plan, until the next but one.
  std::span<const std::int32_t> kv_indices() const { return kv_indices_; }

 private:
  // What a plan must leave as it was once runs have been captured.
  struct Fixed {
    op::AttentionCudaShape shape;
    AttentionOptions options;
    Device device;
    AttentionCapacity capacity;
    const void *workspace, *custom_mask, *alibi_slopes;
    bool planned_on_device;
    friend bool operator==(const Fixed&, const Fixed&) = default;
  };
  // The requests of one kernel: their list, and where it and its partial results lie.
  struct Part {
    std::vector<plan::AttentionRequest> requests;
    plan::DeviceWorkList list;
    plan::ListCapacity extents{};  // of the list on the device, and of the grids; 0 items: nothing to launch
    std::int32_t partial_rows = 0;
    bool wanted = false;  // by this plan or, where shapes are fixed, by any
    // Offsets in the upload.
    std::size_t counts = 0, items = 0, runs = 0, merges = 0, arrivals = 0, sm90_list = 0;
    std::size_t partials = 0;  // rows of partial results before this part's
  };
  // Offsets in the upload of what all parts read.
  struct Layout {
    std::size_t kv_indices, custom_mask_indptr, alibi_slopes, rope_turns, bytes;
  };

  void check_target(const Target& target) const;
  void fix(const AttentionShape& shape, const AttentionOptions& options, const Target& target,
           bool on_device);
  void check_capacity(const AttentionShape& shape, const AttentionCapacity& capacity) const;
  void make_lists(const AttentionShape& shape);
  void make_decode_list();
  void set_decode_extents();
  void make_sm90_list();
  Part& part_for(std::int32_t qo_len);
  // The part's list in the options' cut, and the most that a plan's list may be where its shape is fixed.
  void make_list(Part& part, const plan::WorkListOptions& options);
  Layout layout(const AttentionShape& shape);
  void upload(const AttentionShape& shape, const Target& target);
  void plan_workspace(const Target& target);
  void check_indices(const AttentionTensors& tensors, const Launch& launch) const;
  void run_sm90(const kernel::AttentionParams& params, const Launch& launch);
  void note_capture(const AttentionTensors& tensors);
  void move_to(const Target& target);
  void set_tensors(const AttentionTensors& tensors);
  void run_variant(const AttentionTensors& tensors, const Launch& launch);
  void follow_on(Stream stream);
  kernel::AttentionParams params_of(const Part& part) const;

  std::string_view op_name_;
  op::Gpu gpu_{};
  std::optional<Stream> stream_;              // of the last plan or run
  std::unique_ptr<cuda::Event> handed_over_;  // where another stream takes over
  Fixed fixed_{};
  const VariantRecord* variant_ = nullptr;  // null: none
  bool captured_ = false;
  std::int64_t captured_rows_ = 0, captured_kv_ = 0;  // the least extents of captured q and k

  Part decode_, sm90_, other_;
  kernel::Sm90List sm90_list_{};
  op::AttentionExtents extents_{};  // of the run's tensors
  std::vector<kernel::AttentionItem> scratch_;
  op::DecodeChoice decode_choice_;
  plan::DeviceListMaker maker_;

  cuda::PinnedUpload upload_;
  op::DeviceDecodePlan device_plan_;
  bool checks_indices_ = false;
  std::span<const std::int32_t> kv_indices_;
  Pages pages_;
  std::size_t workspace_bytes_ = 0;
  cuda::DeviceBuffer workspace_;
  kernel::AttentionParams params_{};  // what the parts have in common
  PlannedScales scales_;
};

}  // namespace strobe::ops
