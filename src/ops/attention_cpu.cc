#include "ops/attention_cpu.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/message.h"
#include "strobe/threads.h"

namespace strobe::ops {
namespace {

constexpr std::size_t kLine = 64;

std::size_t whole_lines(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

cpu::AttentionMask kernel_mask(MaskMode mask) {
  switch (mask) {
    case MaskMode::kNone:
      return cpu::AttentionMask::kNone;
    case MaskMode::kCausal:
      return cpu::AttentionMask::kCausal;
    case MaskMode::kCustom:
      return cpu::AttentionMask::kCustom;
  }
  return cpu::AttentionMask::kNone;
}

}  // namespace

void CpuAttention::Free::operator()(void* p) const { std::free(p); }

CpuAttention::Buffer CpuAttention::allocate(std::size_t bytes) {
  void* memory = std::aligned_alloc(kLine, whole_lines(std::max<std::size_t>(bytes, 1)));
  if (memory == nullptr)
    fail(ErrorKind::kOutOfMemory, "attention plan: a workspace of {} bytes is not to be had", bytes);
  return Buffer(memory);
}

void CpuAttention::plan(const AttentionShape& shape, const AttentionOptions& options) {
  const int group = shape.num_qo_heads / std::max(1, shape.num_kv_heads);
  workers_ = executor().max_workers();
  plan::make_work_list(shape.qo_indptr, shape.kv_len,
                       {.num_kv_heads = shape.num_kv_heads,
                        .group_size = group,
                        .workers = workers_,
                        .causal = options.mask == MaskMode::kCausal,
                        .window_left = options.window_left,
                        .deterministic = options.deterministic},
                       work_);
  parts_.clear();
  for (const plan::WorkItem& part : work_.parts)
    parts_.push_back({part.request, part.q_begin, part.q_end, part.kv_begin, part.kv_end, part.slot});

  problem_ = {};
  problem_.q_dtype = shape.q_dtype;
  problem_.kv_dtype = shape.kv_dtype;
  problem_.qo_indptr = shape.qo_indptr.data();
  problem_.kv_indptr = shape.kv_indptr.data();
  problem_.kv_indices = shape.kv_indices.data();
  problem_.kv_len = shape.kv_len.data();
  problem_.page_size = shape.page_size;
  problem_.num_qo_heads = shape.num_qo_heads;
  problem_.num_kv_heads = shape.num_kv_heads;
  problem_.head_dim_qk = shape.head_dim_qk;
  problem_.head_dim_vo = shape.head_dim_vo;
  const float sm_scale =
      options.sm_scale != 0 ? options.sm_scale : 1 / std::sqrt(static_cast<float>(shape.head_dim_qk));
  qk_scale_ = sm_scale * options.q_scale * options.k_scale;
  v_scale_ = options.v_scale;
  problem_.logits_soft_cap = options.logits_soft_cap;
  problem_.window_left = options.window_left;
  problem_.mask = kernel_mask(options.mask);
  problem_.custom_mask = shape.custom_mask->as<std::uint8_t>();
  problem_.custom_mask_indptr = shape.custom_mask_indptr.data();
  if (shape.alibi_slopes->given()) {
    problem_.alibi_slopes = shape.alibi_slopes->as<float>();
  } else if (options.pos_encoding == PosEncoding::kAlibi) {
    alibi_slopes_ = strobe::alibi_slopes(shape.num_qo_heads);
    problem_.alibi_slopes = alibi_slopes_.data();
  }
  if (options.pos_encoding == PosEncoding::kRope) {
    rope_inv_freq_ = rope_inv_freq(shape.head_dim_qk, options.rope);
    problem_.rope_inv_freq = rope_inv_freq_.data();
    problem_.rotary_dim = shape.head_dim_qk;
    problem_.rope_interleave = options.rope_interleave;
  }
  plan_workspace();
}

void CpuAttention::plan_workspace() {
  item_kernel_ = *cpu::attention_item;
  merge_kernel_ = *cpu::attention_merge;
  const auto heads = static_cast<std::size_t>(problem_.num_kv_heads);
  scratch_bytes_ = whole_lines((*cpu::attention_scratch_bytes)(problem_, std::max(1, work_.max_rows)));
  problem_.partial_rows = work_.max_partial_rows;
  const std::size_t partial_rows =
      static_cast<std::size_t>(work_.slots) * heads * static_cast<std::size_t>(work_.max_partial_rows);
  const std::size_t out_bytes =
      whole_lines(partial_rows * static_cast<std::size_t>(problem_.head_dim_vo) * sizeof(float));
  partial_bytes_ = out_bytes + partial_rows * sizeof(float);
  if (workspace_bytes() > workspace_capacity_) {
    workspace_.reset();
    workspace_ = allocate(workspace_bytes());
    workspace_capacity_ = workspace_bytes();
  }
  char* partials = static_cast<char*>(workspace_.get()) + static_cast<std::size_t>(workers_) * scratch_bytes_;
  problem_.partial_out = reinterpret_cast<float*>(partials);
  problem_.partial_lse = reinterpret_cast<float*>(partials + out_bytes);
  const std::size_t counters = work_.merges.size() * heads;
  if (counters > counter_capacity_) {
    parts_done_ = std::make_unique<std::atomic<std::int32_t>[]>(counters);
    counter_capacity_ = counters;
  }
  for (std::size_t i = 0; i < counters; ++i) parts_done_[i].store(0, std::memory_order_relaxed);
}

std::size_t CpuAttention::workspace_bytes() const {
  return static_cast<std::size_t>(workers_) * scratch_bytes_ + partial_bytes_;
}

void CpuAttention::run(const AttentionTensors& tensors) {
  problem_.sm_scale = qk_scale_ * tensors.qk_scale;
  problem_.v_scale = v_scale_ * tensors.v_scale;
  problem_.q_scales = tensors.head_scales.q;
  problem_.k_scales = tensors.head_scales.k;
  problem_.v_scales = tensors.head_scales.v;
  problem_.q = tensors.q->data;
  problem_.q_stride_token = tensors.q->strides[0];
  problem_.q_stride_head = tensors.q->strides[1];
  problem_.k = tensors.k->data;
  problem_.k_stride_page = tensors.k_stride_page;
  problem_.k_stride_token = tensors.k_stride_token;
  problem_.k_stride_head = tensors.k_stride_head;
  problem_.v = tensors.v->data;
  problem_.v_stride_page = tensors.v_stride_page;
  problem_.v_stride_token = tensors.v_stride_token;
  problem_.v_stride_head = tensors.v_stride_head;
  problem_.sinks = tensors.sinks->as<float>();
  problem_.out = tensors.out->data;
  problem_.out_stride_token = tensors.out->strides[0];
  problem_.out_stride_head = tensors.out->strides[1];
  problem_.out_dtype = tensors.out->dtype;
  problem_.lse = tensors.lse->given() ? tensors.lse->as<float>() : nullptr;
  problem_.lse_stride_token = tensors.lse->strides[0];
  problem_.lse_stride_head = tensors.lse->strides[1];
  const auto calls = static_cast<int>(work_.calls.size());
  if (calls > 0) executor().run(calls, workers_, [this](int call, int worker) { run_call(call, worker); });
}

// The calls of one work item follow each other: in an NHD cache they share memory pages and DRAM rows.
void CpuAttention::run_call(std::int32_t index, int worker) {
  const plan::WorkCall& call = work_.calls[static_cast<std::size_t>(index)];
  const plan::WorkItem& item = work_.items[static_cast<std::size_t>(call.item)];
  void* scratch = static_cast<char*>(workspace_.get()) + static_cast<std::size_t>(worker) * scratch_bytes_;
  item_kernel_(problem_, {item.request, item.q_begin, item.q_end, item.kv_begin, item.kv_end, item.slot},
               call.kv_head_begin, call.kv_head_end, scratch);
  if (item.group >= 0) finish_part(item, call, scratch);
}

// The worker that finishes the last part of a group merges all of them, in their fixed order, and leaves the
// counter ready for the next run.
void CpuAttention::finish_part(const plan::WorkItem& item, const plan::WorkCall& call, void* scratch) {
  const plan::MergeGroup& group = work_.merges[static_cast<std::size_t>(item.group)];
  std::atomic<std::int32_t>& done =
      parts_done_[static_cast<std::size_t>(item.group * problem_.num_kv_heads + call.kv_head_begin)];
  if (done.fetch_add(1, std::memory_order_acq_rel) + 1 != group.part_count) return;
  done.store(0, std::memory_order_relaxed);
  for (int kv_head = call.kv_head_begin; kv_head < call.kv_head_end; ++kv_head)
    merge_kernel_(problem_, parts_.data() + group.first_part, group.part_count, kv_head, scratch);
}

}  // namespace strobe::ops
