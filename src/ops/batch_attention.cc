// BatchAttention: plans and runs on the CPU and on GPUs.
#include <algorithm>
#include <memory>
#include <vector>

#include "core/log.h"
#include "core/message.h"
#include "cpu/index_kernel.h"
#include "op/call.h"
#include "op/call_dump.h"
#include "op/call_log.h"
#include "op/device_operands.h"
#include "ops/attention_args.h"
#include "ops/attention_cpu.h"
#include "ops/attention_declare.h"
#include "ops/attention_gpu.h"
#include "ops/attention_variant_cpu.h"
#include "strobe/attention.h"

namespace strobe::inline v1 {

// Copies of plan's index arrays, the bound axes, and the backend's plan.
struct BatchAttention::State {
  const op::Operator* op = nullptr;  // null until planned
  ops::BatchAttentionArgs args;
  op::Axes axes;
  std::vector<std::int32_t> qo_indptr, kv_indptr, kv_len;
  std::vector<std::int32_t> cpu_kv_indices;
  std::span<const std::int32_t> kv_indices;  // the CPU's, or what goes to the GPU
  std::vector<std::int64_t> custom_mask_indptr;
  std::int32_t lowest_page = 0, highest_page = -1;
  std::int64_t least_rows = 0, least_kv = 0;  // of q, and of ragged k, that a run brings
  bool planned_on_device = false;
  const ops::VariantRecord* variant = nullptr;
  ops::CpuAttention cpu;
  ops::CpuVariantAttention cpu_variant;
  ops::GpuAttention gpu;

  bool on_gpu() const { return args.plan.device.type == DeviceType::kCuda; }
  ops::AttentionShape shape() const {
    const AttentionPlanArgs& plan = args.plan;
    return {.qo_indptr = qo_indptr,
            .kv_len = kv_len,
            .kv_indptr = kv_indptr,
            .kv_indices = kv_indices,
            .num_qo_heads = plan.num_qo_heads,
            .num_kv_heads = plan.num_kv_heads,
            .head_dim_qk = plan.head_dim_qk,
            .head_dim_vo = args.head_dim_vo(),
            .page_size = plan.page_size,
            .q_dtype = plan.q_dtype,
            .kv_dtype = plan.kv_dtype,
            .alibi_slopes = &plan.alibi_slopes,
            .custom_mask = &plan.custom_mask,
            .custom_mask_indptr = custom_mask_indptr,
            .variant = variant};
  }
  void plan_cpu();
  void plan_gpu(const Launch& launch);
  void plan_on_device(const Launch& launch);
  void set_axes(const op::Axes& given);

  // The arguments of a run with plan's own copies of the index arrays, since the caller's may be gone.
  struct PlannedArgs {
    ops::BatchAttentionArgs args;
    std::vector<std::int32_t> custom_mask_indptr;

    explicit PlannedArgs(const State& state)
        : args(state.args),
          custom_mask_indptr(state.custom_mask_indptr.begin(), state.custom_mask_indptr.end()) {
      AttentionPlanArgs& plan = args.plan;
      plan.qo_indptr = TensorView::of(state.qo_indptr);
      plan.kv_indptr = TensorView::of(state.kv_indptr);
      if (plan.custom_mask_indptr.given()) plan.custom_mask_indptr = TensorView::of(custom_mask_indptr);
      if (!args.paged()) return;
      plan.kv_indices = TensorView(const_cast<std::int32_t*>(state.kv_indices.data()), Dtype::kI32,
                                   {static_cast<std::int64_t>(state.kv_indices.size())});
      plan.kv_len = TensorView::of(state.kv_len);
      plan.last_page_len = {};
    }
  };
};

BatchAttention::BatchAttention() : state_(std::make_unique<State>()) {}
BatchAttention::~BatchAttention() = default;
BatchAttention::BatchAttention(BatchAttention&&) noexcept = default;
BatchAttention& BatchAttention::operator=(BatchAttention&&) noexcept = default;

namespace {

void copy(const TensorView& view, std::vector<std::int32_t>& to) {
  const auto from = ops::values(view);
  to.assign(from.begin(), from.end());
}

}  // namespace

void BatchAttention::State::plan_cpu() {
  const TensorView& from = args.plan.kv_indices;
  cpu_kv_indices.resize(args.paged() ? static_cast<std::size_t>(kv_indptr.back()) : 0);
  (*cpu::copy_indices)(from.as<std::int32_t>(), cpu_kv_indices.data(),
                       static_cast<std::int64_t>(cpu_kv_indices.size()), &lowest_page, &highest_page);
  kv_indices = cpu_kv_indices;
  variant != nullptr ? cpu_variant.plan(shape(), args.plan.options) : cpu.plan(shape(), args.plan.options);
}

void BatchAttention::State::plan_gpu(const Launch& launch) {
  const AttentionPlanArgs& plan = args.plan;
  const auto count = args.paged() ? static_cast<std::size_t>(kv_indptr.back()) : 0;
  kv_indices = {plan.kv_indices.as<const std::int32_t>(), count};
  gpu.plan(shape(), plan.options,
           {.op_name = ops::batch_attention_operator(args.paged()).name,
            .device = plan.device,
            .stream = launch.stream,
            .capacity = plan.capacity,
            .workspace = plan.workspace,
            .backend = launch.backend});
  lowest_page = gpu.pages().lowest;
  highest_page = gpu.pages().highest;
  kv_indices = gpu.kv_indices();
}

void BatchAttention::State::plan_on_device(const Launch& launch) {
  const AttentionPlanArgs& plan = args.plan;
  const auto data = [](const TensorView& view) {
    return view.given() ? view.as<const std::int32_t>() : nullptr;
  };
  const op::DeviceIndices indices{.qo_indptr = data(plan.qo_indptr),
                                  .kv_indptr = data(plan.kv_indptr),
                                  .last_page_len = data(plan.last_page_len),
                                  .kv_len = data(plan.kv_len),
                                  .requests = static_cast<std::int32_t>(plan.qo_indptr.shape[0] - 1),
                                  .kv_entries = args.paged()
                                                    ? static_cast<std::int32_t>(plan.kv_indices.shape[0])
                                                    : static_cast<std::int32_t>(std::min<std::int64_t>(
                                                          plan.capacity.max_kv_tokens, ops::kMostTokens))};
  gpu.plan_on_device(shape(), plan.options,
                     {.op_name = ops::batch_attention_operator(args.paged()).name,
                      .device = plan.device,
                      .stream = launch.stream,
                      .capacity = plan.capacity,
                      .workspace = plan.workspace,
                      .backend = launch.backend},
                     indices, data(plan.kv_indices));
}

void BatchAttention::State::set_axes(const op::Axes& given) {
  const AttentionPlanArgs& plan = args.plan;
  axes = given;
  axes.size[ops::attention_axis::kNnzQo] = plan.capacity.declared() ? -1 : least_rows;
  axes.size[ops::attention_axis::kNumQoHeads] = plan.num_qo_heads;
  axes.size[ops::attention_axis::kNumKvHeads] = plan.num_kv_heads;
  axes.size[ops::attention_axis::kHeadDimQk] = plan.head_dim_qk;
  axes.size[ops::attention_axis::kHeadDimVo] = args.head_dim_vo();
  axes.size[ops::attention_axis::kPageSize] = plan.page_size;
}

void BatchAttention::plan_on_device(const AttentionPlanArgs& plan, const Launch& launch) {
  State& state = *state_;
  const op::Operator& op = ops::batch_attention_operator(plan.page_size > 0);
  state.op = nullptr;
  state.args.plan = plan;
  ops::check_device_plan(op, plan);
  op::select_backend(op, plan.device, launch.backend);
  if (log::level() > 0) [[unlikely]]
    op::log_call(op, &state.args, op::Phase::kPlan, Backend::kCudaSm80, launch.stream);
  for (auto* indices : {&state.qo_indptr, &state.kv_indptr, &state.kv_len}) indices->clear();
  state.custom_mask_indptr.clear();
  state.kv_indices = {};
  state.lowest_page = 0;
  state.highest_page = -1;
  state.least_rows = plan.capacity.max_query_tokens;
  state.least_kv = plan.page_size > 0 ? 0 : plan.capacity.max_kv_tokens;
  state.planned_on_device = true;
  state.variant = nullptr;
  state.set_axes({});
  state.plan_on_device(launch);
  state.op = &op;
}

void BatchAttention::plan(const AttentionPlanArgs& plan, const Launch& launch) {
  State& state = *state_;
  const op::Operator& op = ops::batch_attention_operator(plan.page_size > 0);
  if (plan.capacity.declared() && plan.device.type != DeviceType::kCuda)
    fail(ErrorKind::kUnsupported, "{}: capacity: expected none on the CPU, which has no graphs", op.name);
  state.op = nullptr;  // a plan that fails leaves nothing to run
  state.args.plan = plan;
  op::Axes axes;
  op::validate(op, &state.args, op::Phase::kPlan, axes);
  const Backend backend = op::select_backend(op, plan.device, launch.backend);
  std::unique_ptr<op::CallDump> dump;
  if (log::level() > 0) [[unlikely]] {
    op::log_call(op, &state.args, op::Phase::kPlan, backend, launch.stream);
    dump = op::CallDump::begin(op, &state.args, op::Phase::kPlan, backend);
  }

  copy(plan.qo_indptr, state.qo_indptr);
  copy(plan.kv_indptr, state.kv_indptr);
  ops::kv_lengths(plan, state.kv_len);
  state.custom_mask_indptr.clear();
  for (std::int32_t bytes : ops::values(plan.custom_mask_indptr)) state.custom_mask_indptr.push_back(bytes);
  state.least_rows = state.qo_indptr.back();
  state.least_kv = plan.page_size > 0 ? 0 : state.kv_indptr.back();
  state.planned_on_device = false;
  state.set_axes(axes);
  state.variant = ops::find_variant(plan.variant);
  state.on_gpu() ? state.plan_gpu(launch) : state.plan_cpu();
  state.op = &op;
  if (dump != nullptr) [[unlikely]]
    dump->complete();
}

void BatchAttention::run(const AttentionRunArgs& run, const Launch& launch) {
  State& state = *state_;
  if (state.op == nullptr)
    fail(ErrorKind::kInvalidArgument, "batch_attention: run: expected a successful plan before it, got none");
  const op::Operator& op = *state.op;
  state.args.run = run;
  op::Axes axes = state.axes;
  op::validate(op, &state.args, op::Phase::kRun, axes);
  const bool paged = state.args.paged();
  if (paged && (state.lowest_page < 0 || state.highest_page >= axes[ops::attention_axis::kNumKv]))
    op::reject(op, "kv_indices", "expected page numbers in [0, num_pages = {}), got {}",
               axes[ops::attention_axis::kNumKv],
               state.lowest_page < 0 ? state.lowest_page : state.highest_page);
  if (state.least_kv > axes[ops::attention_axis::kNumKv] && !paged)
    op::reject(op, "k", "expected at least {} KV rows as planned, got nnz_kv = {}", state.least_kv,
               axes[ops::attention_axis::kNumKv]);
  if (run.q.device != state.args.plan.device)
    op::reject(op, "q", "expected device {} as planned, got {}", to_string(state.args.plan.device),
               to_string(run.q.device));
  op::select_backend(op, run.q.device, launch.backend);
  if (axes[ops::attention_axis::kNnzQo] < state.least_rows)
    op::reject(op, "q", "expected at least the {} query rows planned, got {}", state.least_rows,
               describe(run.q));
  // Axes of k and v: [page,] token, head or [page,] head, token.
  const std::size_t page_axes = paged ? 1 : 0;
  const bool hnd = state.args.plan.kv_layout == KvLayout::kHnd;
  const std::size_t token = page_axes + (hnd ? 1 : 0), head = page_axes + (hnd ? 0 : 1);
  const ops::AttentionTensors tensors{.q = &run.q,
                                      .k = &run.k,
                                      .v = &run.v,
                                      .sinks = &run.sinks,
                                      .out = &run.out,
                                      .lse = &run.lse,
                                      .variant_arguments = &run.variant_arguments,
                                      .k_stride_page = paged ? run.k.strides[0] : 0,
                                      .k_stride_token = run.k.strides[token],
                                      .k_stride_head = run.k.strides[head],
                                      .v_stride_page = paged ? run.v.strides[0] : 0,
                                      .v_stride_token = run.v.strides[token],
                                      .v_stride_head = run.v.strides[head],
                                      .num_kv = axes[ops::attention_axis::kNumKv],
                                      .qk_scale = run.q_scale * run.k_scale,
                                      .v_scale = run.v_scale,
                                      .head_scales = {run.q_scales, run.k_scales, run.v_scales}};
  const auto run_backend = [&] {
    if (state.on_gpu())
      state.gpu.run(tensors, launch);
    else if (state.variant != nullptr)
      state.cpu_variant.run(op.name, tensors);
    else
      state.cpu.run(tensors);
  };
  if (log::level() == 0) [[likely]]
    return run_backend();
  const Backend backend = state.on_gpu() ? state.gpu.backend_for(tensors) : Backend::kCpu;
  const std::uint64_t number = op::log_call(op, &state.args, op::Phase::kRun, backend, launch.stream,
                                            state.on_gpu() ? state.gpu.kernels_for(tensors) : std::string());
  const State::PlannedArgs planned(state);
  std::unique_ptr<op::CallDump> dump;  // of what replay can plan again
  if (!state.planned_on_device)
    dump = op::CallDump::begin(op, &planned.args, op::Phase::kRun, backend, launch.stream);
  run_backend();
  op::log_result(op, &state.args, op::Phase::kRun, number, launch.stream);
  if (dump != nullptr) dump->complete();
}

std::size_t BatchAttention::workspace_bytes() const {
  if (state_->op == nullptr) return 0;
  if (state_->on_gpu()) return state_->gpu.workspace_bytes();
  return state_->variant != nullptr ? state_->cpu_variant.workspace_bytes() : state_->cpu.workspace_bytes();
}

}  // namespace strobe::inline v1
