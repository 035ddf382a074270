#include "ops/attention_gpu.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/env.h"
#include "core/message.h"
#include "cpu/index_kernel.h"
#include "cpu/rope_turns.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/rehearsal.h"
#include "ops/attention_cuda.h"
#include "ops/attention_params.h"
#include "ops/attention_variant_cuda.h"

namespace strobe::ops {
namespace {

constexpr std::size_t kAlignment = 16;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

template <class T>
void write(std::byte* to, std::size_t offset, const T* values, std::size_t count) {
  if (count > 0) std::memcpy(to + offset, values, count * sizeof(T));
}

std::int64_t longest(std::span<const std::int32_t> indptr) {
  std::int32_t most = 0;
  for (std::size_t i = 1; i < indptr.size(); ++i) most = std::max(most, indptr[i] - indptr[i - 1]);
  return most;
}

Backend backend_of(const GpuAttention::Target& target) {
  return cuda::serves_sm90(target.device) ? target.backend : Backend::kCudaSm80;
}

op::AttentionCudaShape cuda_shape(const AttentionShape& shape, const AttentionOptions& options,
                                  const GpuAttention::Target& target) {
  const AttentionCapacity& capacity = target.capacity;
  const bool fixed = capacity.declared();
  return {.q_dtype = shape.q_dtype,
          .kv_dtype = shape.kv_dtype,
          .num_qo_heads = shape.num_qo_heads,
          .num_kv_heads = shape.num_kv_heads,
          .head_dim_qk = shape.head_dim_qk,
          .head_dim_vo = shape.head_dim_vo,
          .page_size = shape.page_size,
          .mask = options.mask,
          .window_left = options.window_left,
          .soft_cap = options.logits_soft_cap > 0,
          .alibi = shape.alibi_slopes->given() || options.pos_encoding == PosEncoding::kAlibi,
          .rope = options.pos_encoding == PosEncoding::kRope,
          .deterministic = options.deterministic,
          .variant = shape.variant == nullptr ? 0 : shape.variant->id,
          .variant_changes_rows = shape.variant != nullptr && shape.variant->changes_rows,
          .backend = backend_of(target),
          .fixed = fixed,
          .max_batch_size = fixed ? capacity.max_batch_size : static_cast<int>(shape.kv_len.size()),
          .max_qo_len = !fixed                    ? static_cast<int>(longest(shape.qo_indptr))
                        : capacity.max_qo_len > 0 ? capacity.max_qo_len
                                                  : capacity.max_query_tokens,
          .max_query_tokens = fixed ? capacity.max_query_tokens : shape.qo_indptr.back()};
}

}  // namespace

void GpuAttention::check_target(const Target& target) const {
  const TensorView& workspace = target.workspace;
  if (!workspace.given()) return;
  if (workspace.device != target.device || workspace.rank != 1 || workspace.dtype != Dtype::kU8 ||
      reinterpret_cast<std::uintptr_t>(workspace.data) % kAlignment != 0)
    fail(ErrorKind::kInvalidArgument,
         "{}: workspace: expected u8[workspace_bytes] on {} at a multiple of {} bytes, got {} on {}",
         op_name_, to_string(target.device), kAlignment, describe(workspace), to_string(workspace.device));
}

void GpuAttention::check_capacity(const AttentionShape& shape, const AttentionCapacity& capacity) const {
  if (!capacity.declared()) return;
  const auto check = [&](const char* name, std::int64_t most, std::int64_t given, const char* what) {
    if (given > most)
      fail(ErrorKind::kInvalidArgument, "{}: plan: expected at most the declared {} = {}, got {} {}",
           op_name_, name, most, given, what);
  };
  std::int64_t kv_tokens = 0;
  for (std::int32_t kv_len : shape.kv_len)
    kv_tokens += shape.page_size == 0
                     ? kv_len
                     : op::ceil_div(kv_len, shape.page_size) * static_cast<std::int64_t>(shape.page_size);
  check("max_batch_size", capacity.max_batch_size, static_cast<std::int64_t>(shape.kv_len.size()),
        "requests");
  check("max_query_tokens", capacity.max_query_tokens, shape.qo_indptr.back(), "query tokens");
  check("max_qo_len", fixed_.shape.max_qo_len, longest(shape.qo_indptr), "query tokens of a request");
  check("max_kv_tokens", capacity.max_kv_tokens, kv_tokens, "KV tokens");
}

void GpuAttention::plan(const AttentionShape& shape, const AttentionOptions& options, const Target& target) {
  op_name_ = target.op_name;
  if (cuda::rehearsal() == nullptr && cuda::is_capturing(target.device, target.stream))
    fail(ErrorKind::kInvalidArgument,
         "{}: plan: expected a stream that is not being captured, since a graph would replay this plan's "
         "lengths; plan before the capture, and again before each replay",
         op_name_);
  fix(shape, options, target, false);
  check_capacity(shape, target.capacity);
  move_to(target);
  variant_ = shape.variant;
  if (variant_ != nullptr) op::compile_variant(variant_->cuda, fixed_.shape, gpu_, target.stream);
  make_lists(shape);
  follow_on(target.stream);
  upload(shape, target);
  scales_ = set_planned(shape, options, params_);
  plan_workspace(target);
}

// What a captured run does not let change.
void GpuAttention::fix(const AttentionShape& shape, const AttentionOptions& options, const Target& target,
                       bool on_device) {
  check_target(target);
  const Fixed now{.shape = cuda_shape(shape, options, target),
                  .options = options,
                  .device = target.device,
                  .capacity = target.capacity,
                  .workspace = target.workspace.data,
                  .custom_mask = shape.custom_mask->data,
                  .alibi_slopes = shape.alibi_slopes->data,
                  .planned_on_device = on_device};
  if (captured_ && !(now == fixed_ && now.shape.fixed))
    fail(ErrorKind::kInvalidArgument,
         "{}: plan: a CUDA graph holds a run of this object, so that plans may only change lengths and "
         "indices, within a declared capacity; expected {}",
         op_name_,
         fixed_.shape.fixed ? "the options, shapes and tensors of the captured run"
                            : "a capacity before the capture");
  fixed_ = now;
}

void GpuAttention::move_to(const Target& target) {
  if (target.device != gpu_.device) {
    stream_.reset();
    handed_over_.reset();
  }
  gpu_ = op::gpu_of(target.device);
}

void GpuAttention::plan_on_device(const AttentionShape& shape, const AttentionOptions& options,
                                  const Target& target, const op::DeviceIndices& indices,
                                  const std::int32_t* kv_indices) {
  op_name_ = target.op_name;
  fix(shape, options, target, true);
  move_to(target);
  variant_ = nullptr;
  if (!op::serves_decode(fixed_.shape, fixed_.shape.max_qo_len, gpu_.architecture))
    fail(ErrorKind::kUnsupported,
         "{}: plan_on_device: expected what the decode kernel serves, since no other kernel's lists are made "
         "there; got {} query heads of a KV head x max_qo_len = {} query tokens, head_dim {}, {} and {}",
         op_name_, fixed_.shape.group(), fixed_.shape.max_qo_len, shape.head_dim_qk, name(shape.q_dtype),
         name(shape.kv_dtype));
  for (Part* part : {&decode_, &sm90_, &other_}) {
    part->list.clear();
    part->extents = {};
    part->wanted = part == &decode_;
  }
  decode_choice_ = op::choose_decode(fixed_.shape, {}, gpu_);
  set_decode_extents();
  const bool capturing = cuda::rehearsal() == nullptr && cuda::is_capturing(target.device, target.stream);
  if (!device_plan_.holds(decode_choice_, fixed_.shape, target.device)) {
    if (captured_ || capturing)
      fail(ErrorKind::kInvalidArgument,
           "{}: plan_on_device: expected a first call outside of a capture, which allocates", op_name_);
    device_plan_.reserve(decode_choice_, fixed_.shape, target.device);
  }
  if (!capturing) follow_on(target.stream);
  params_ = {};
  params_.kv_indices = kv_indices;
  if (fixed_.shape.alibi) params_.alibi_slopes = shape.alibi_slopes->as<const float>();
  scales_ = set_planned(shape, options, params_);
  plan_workspace(target);
  kv_indices_ = {};
  pages_ = {};
  checks_indices_ = env::integer(env::Variable::kCheckIndices, 0, 1, 0) == 1;
  Launch launch;
  launch.stream = target.stream;
  device_plan_.make(decode_choice_, fixed_.shape, indices, gpu_, launch);
}

// Each request goes to the kernel that serves it, by its own query length.
GpuAttention::Part& GpuAttention::part_for(std::int32_t qo_len) {
  if (variant_ != nullptr) return other_;
  const op::AttentionCudaShape& shape = fixed_.shape;
  const bool sm90 = shape.backend != Backend::kCudaSm80 && op::serves_sm90(shape);
  if (sm90 && (shape.backend == Backend::kCudaSm90 || op::prefers_sm90(shape, qo_len))) return sm90_;
  return op::serves_decode(shape, qo_len, gpu_.architecture) ? decode_ : other_;
}

void GpuAttention::make_lists(const AttentionShape& shape) {
  for (Part* part : {&decode_, &sm90_, &other_}) {
    part->requests.clear();
    part->list.clear();
    part->extents = {};
    part->wanted = false;
  }
  std::int32_t former_qo_len = 0;
  Part* part = nullptr;  // of the former request: neighbours mostly have one query length
  for (std::size_t r = 0; r < shape.kv_len.size(); ++r) {
    const plan::AttentionRequest request{.request = static_cast<std::int32_t>(r),
                                         .q_row = shape.qo_indptr[r],
                                         .qo_len = shape.qo_indptr[r + 1] - shape.qo_indptr[r],
                                         .kv_base = shape.kv_indptr[r],
                                         .kv_len = shape.kv_len[r]};
    if (request.qo_len == 0) continue;
    if (request.qo_len != former_qo_len) part = &part_for(request.qo_len);
    former_qo_len = request.qo_len;
    part->requests.push_back(request);
    part->wanted = true;
  }
  // Any plan of a fixed shape takes the same kernels. Beyond a thousand tokens a request's length changes
  // nothing.
  if (fixed_.shape.fixed)
    for (int qo_len = 1; qo_len <= std::min(fixed_.shape.max_qo_len, 1024); ++qo_len)
      part_for(qo_len).wanted = true;
  if (decode_.wanted) make_decode_list();
  if (sm90_.wanted) make_sm90_list();
  if (other_.wanted) make_list(other_, op::list_options(fixed_.shape, gpu_));
}

void GpuAttention::make_decode_list() {
  const op::AttentionCudaShape& shape = fixed_.shape;
  decode_choice_ = op::choose_decode(shape, decode_.requests, gpu_);
  op::plan_decode(decode_choice_, shape, decode_.requests, decode_.list);
  decode_.extents = {.items = static_cast<std::int64_t>(decode_.list.items.size()),
                     .merges = static_cast<std::int64_t>(decode_.list.merges.size()),
                     .slots = decode_.list.slots};
  decode_.partial_rows = decode_.list.partial_rows;
  if (shape.fixed) set_decode_extents();
}

// Of any plan within the capacity.
void GpuAttention::set_decode_extents() {
  const op::AttentionCudaShape& shape = fixed_.shape;
  decode_.extents = {.items = op::most_items(decode_choice_, shape),
                     .merges = op::most_merges(decode_choice_, shape),
                     .slots = op::most_slots(decode_choice_, shape)};
  // A capture may happen under a plan that cuts no rows; later ones cut those of the longest queries served.
  int qo_len = shape.max_qo_len;
  while (qo_len > 1 && !op::serves_decode(shape, qo_len, gpu_.architecture)) --qo_len;
  decode_.partial_rows = qo_len * shape.group();
}

void GpuAttention::make_sm90_list() {
  make_list(sm90_, op::sm90_list_options(fixed_.shape, gpu_));
  sm90_list_ = op::order_sm90_list(fixed_.shape, sm90_.list, scratch_);
}

void GpuAttention::make_list(Part& part, const plan::WorkListOptions& options) {
  const op::AttentionCudaShape& shape = fixed_.shape;
  maker_.make(part.requests, options, part.list);
  part.extents = {.items = static_cast<std::int64_t>(part.list.items.size()),
                  .merges = static_cast<std::int64_t>(part.list.merges.size()),
                  .slots = part.list.slots};
  part.partial_rows = part.list.partial_rows;
  if (!shape.fixed) return;
  part.extents = plan::list_capacity({.requests = shape.max_batch_size,
                                      .query_tokens = shape.max_query_tokens,
                                      .qo_len = shape.max_qo_len,
                                      .kv_tokens = fixed_.capacity.max_kv_tokens},
                                     options);
  part.partial_rows = std::max(options.item_rows, shape.group());
}

GpuAttention::Layout GpuAttention::layout(const AttentionShape& shape) {
  const bool fixed = fixed_.shape.fixed;
  const auto requests = static_cast<std::size_t>(fixed_.shape.max_batch_size);
  std::size_t indices = shape.kv_indices.size();
  if (fixed && shape.page_size > 0)
    indices = static_cast<std::size_t>(fixed_.capacity.max_kv_tokens / shape.page_size);
  Layout layout{};
  std::size_t end = 0;
  const auto place = [&](std::size_t& offset, std::size_t count, std::size_t bytes) {
    offset = end;
    end = aligned(end + count * bytes);
  };
  for (Part* part : {&decode_, &sm90_, &other_}) {
    place(part->counts, fixed ? 1 : 0, sizeof(kernel::AttentionCounts));
    place(part->items, static_cast<std::size_t>(part->extents.items), sizeof(kernel::AttentionItem));
    place(part->runs, part->list.runs.size(), sizeof(kernel::AttentionRun));
    place(part->merges, static_cast<std::size_t>(part->extents.merges), sizeof(kernel::AttentionMerge));
    place(part->sm90_list, part == &sm90_ && part->wanted ? 1 : 0, sizeof(kernel::Sm90List));
  }
  place(decode_.arrivals, static_cast<std::size_t>(decode_.extents.merges), sizeof(std::uint32_t));
  const bool default_slopes = fixed_.shape.alibi && !shape.alibi_slopes->given();
  place(layout.custom_mask_indptr, shape.custom_mask->given() ? requests + 1 : 0, sizeof(std::int64_t));
  place(layout.alibi_slopes, default_slopes ? static_cast<std::size_t>(shape.num_qo_heads) : 0,
        sizeof(float));
  place(layout.rope_turns, fixed_.shape.rope ? static_cast<std::size_t>(shape.head_dim_qk / 2) : 0,
        sizeof(std::uint64_t));
  place(layout.kv_indices, indices, sizeof(std::int32_t));
  layout.bytes = end;
  return layout;
}

void GpuAttention::upload(const AttentionShape& shape, const Target& target) {
  const Layout at = layout(shape);
  std::byte* to = upload_.begin(target.device, std::max(at.bytes, kAlignment), !captured_);
  if (to == nullptr)
    fail(ErrorKind::kInvalidArgument, "{}: plan: {} bytes do not fit where a captured run reads its plan",
         op_name_, at.bytes);
  for (const Part* part : {&decode_, &sm90_, &other_}) {
    const plan::DeviceWorkList& list = part->list;
    const kernel::AttentionCounts counts{static_cast<std::int32_t>(list.items.size()),
                                         static_cast<std::int32_t>(list.merges.size())};
    if (fixed_.shape.fixed) write(to, part->counts, &counts, 1);
    write(to, part->items, list.items.data(), list.items.size());
    write(to, part->runs, list.runs.data(), list.runs.size());
    write(to, part->merges, list.merges.data(), list.merges.size());
  }
  std::memset(to + decode_.arrivals, 0,
              static_cast<std::size_t>(decode_.extents.merges) * sizeof(std::uint32_t));
  if (sm90_.wanted) write(to, sm90_.sm90_list, &sm90_list_, 1);
  write(to, at.custom_mask_indptr, shape.custom_mask_indptr.data(), shape.custom_mask_indptr.size());
  const bool default_slopes = fixed_.shape.alibi && !shape.alibi_slopes->given();
  if (default_slopes) {
    const std::vector<float> slopes = strobe::alibi_slopes(shape.num_qo_heads);
    write(to, at.alibi_slopes, slopes.data(), slopes.size());
  }
  if (fixed_.shape.rope)
    write(to, at.rope_turns, cpu::rope_turns(shape.head_dim_qk, fixed_.options.rope),
          static_cast<std::size_t>(shape.head_dim_qk / 2));
  auto* indices = reinterpret_cast<std::int32_t*>(to + at.kv_indices);
  pages_ = {};
  (*cpu::copy_indices)(shape.kv_indices.data(), indices, static_cast<std::int64_t>(shape.kv_indices.size()),
                       &pages_.lowest, &pages_.highest);
  kv_indices_ = {indices, shape.kv_indices.size()};
  if (captured_ && pages_.highest >= captured_kv_ && shape.page_size > 0)
    fail(ErrorKind::kInvalidArgument,
         "{}: kv_indices: expected page numbers in [0, num_pages = {}) of the captured run, got {}", op_name_,
         captured_kv_, pages_.highest);
  if (captured_ && shape.qo_indptr.back() > captured_rows_)
    fail(ErrorKind::kInvalidArgument,
         "{}: qo_indptr: expected at most the {} query rows of the captured run, got {}", op_name_,
         captured_rows_, shape.qo_indptr.back());
  upload_.send(target.stream);

  const char* device = upload_.device_data();
  params_ = {};
  params_.kv_indices = reinterpret_cast<const std::int32_t*>(device + at.kv_indices);
  if (shape.custom_mask->given()) {
    params_.custom_mask = shape.custom_mask->as<unsigned char>();
    params_.custom_mask_indptr = reinterpret_cast<const std::int64_t*>(device + at.custom_mask_indptr);
  }
  if (fixed_.shape.alibi)
    params_.alibi_slopes = default_slopes ? reinterpret_cast<const float*>(device + at.alibi_slopes)
                                          : shape.alibi_slopes->as<const float>();
  if (fixed_.shape.rope) params_.rope_turns = reinterpret_cast<const std::uint64_t*>(device + at.rope_turns);
}

void GpuAttention::plan_workspace(const Target& target) {
  std::size_t rows = 0;
  for (Part* part : {&decode_, &sm90_, &other_}) {
    part->partials = rows;
    rows += static_cast<std::size_t>(part->extents.slots) * static_cast<std::size_t>(part->partial_rows);
  }
  const std::size_t out_bytes = aligned(rows * static_cast<std::size_t>(params_.head_dim_vo) * sizeof(float));
  workspace_bytes_ = out_bytes + rows * sizeof(float);
  char* workspace = nullptr;
  if (target.workspace.given()) {
    if (static_cast<std::size_t>(target.workspace.shape[0]) < workspace_bytes_)
      fail(ErrorKind::kInvalidArgument, "{}: workspace: expected at least {} bytes for this plan, got {}",
           op_name_, workspace_bytes_, target.workspace.shape[0]);
    workspace = target.workspace.as<char>();
  } else if (cuda::rehearsal() == nullptr && workspace_bytes_ > 0) {
    if (workspace_.bytes() < workspace_bytes_ || workspace_.device() != target.device) {
      const cuda::RelaxedCapture relaxed;
      workspace_ = {};
      workspace_ = cuda::DeviceBuffer(target.device, workspace_bytes_);
    }
    workspace = static_cast<char*>(workspace_.data());
  }
  params_.partial_out = reinterpret_cast<float*>(workspace);
  params_.partial_lse = reinterpret_cast<float*>(workspace + out_bytes);
}

kernel::AttentionParams GpuAttention::params_of(const Part& part) const {
  char* device = upload_.device_data();
  kernel::AttentionParams params = params_;
  params.partial_rows = part.partial_rows;
  params.partial_out += part.partials * static_cast<std::size_t>(params.head_dim_vo);
  params.partial_lse += part.partials;
  if (&part == &decode_) params.heads_together = decode_choice_.heads_together;
  if (fixed_.planned_on_device) {
    device_plan_.set(params);
    return params;
  }
  params.items = reinterpret_cast<const kernel::AttentionItem*>(device + part.items);
  params.merges = reinterpret_cast<const kernel::AttentionMerge*>(device + part.merges);
  if (fixed_.shape.fixed)
    params.counts = reinterpret_cast<const kernel::AttentionCounts*>(device + part.counts);
  if (!part.list.runs.empty()) {
    params.runs = reinterpret_cast<const kernel::AttentionRun*>(device + part.runs);
    params.arrivals = reinterpret_cast<std::uint32_t*>(device + part.arrivals);
  }
  return params;
}

// The copies of plans and the partial results of runs have one place on the device: where another stream than
// the last one comes, it waits for that one.
void GpuAttention::follow_on(Stream stream) {
  const std::optional<Stream> former = std::exchange(stream_, stream);
  if (!former || former->handle == stream.handle || cuda::rehearsal() != nullptr) return;
  // A stream that is being captured does what it does at the graph's launches, which the caller orders.
  if (cuda::is_capturing(gpu_.device, *former)) return;
  if (handed_over_ == nullptr) handed_over_ = std::make_unique<cuda::Event>(gpu_.device);
  handed_over_->record(*former);
  handed_over_->hold(stream);
}

// The extents that later plans must keep to.
void GpuAttention::note_capture(const AttentionTensors& tensors) {
  const std::int64_t rows = tensors.q->shape[0], kv = tensors.num_kv;
  captured_rows_ = captured_ ? std::min(captured_rows_, rows) : rows;
  captured_kv_ = captured_ ? std::min(captured_kv_, kv) : kv;
  captured_ = true;
}

void GpuAttention::run(const AttentionTensors& tensors, const Launch& launch) {
  if (cuda::rehearsal() == nullptr && cuda::is_capturing(gpu_.device, launch.stream))
    note_capture(tensors);
  else
    follow_on(launch.stream);
  if (fixed_.planned_on_device) check_indices(tensors, launch);
  set_tensors(tensors);
  if (variant_ != nullptr) return run_variant(tensors, launch);
  const op::AttentionCudaShape& shape = fixed_.shape;
  const kernel::AttentionParams decode = params_of(decode_), sm90 = params_of(sm90_),
                                other = params_of(other_);
  if (decode_.extents.items > 0)
    op::launch_attention(shape, decode_choice_, decode, decode_.extents.merges, gpu_, launch);
  if (sm90_.extents.items > 0) run_sm90(sm90, launch);
  if (other_.extents.items > 0) op::launch_attention(shape, other, other_.extents.items, gpu_, launch);
  op::launch_attention_merge(sm90, sm90_.extents.merges, shape.num_kv_heads, gpu_, launch);
  op::launch_attention_merge(other, other_.extents.merges, shape.num_kv_heads, gpu_, launch);
}

Backend GpuAttention::backend_for(const AttentionTensors& tensors) {
  set_tensors(tensors);
  return sm90_.wanted && op::expresses_sm90(fixed_.shape, params_, extents_) ? Backend::kCudaSm90
                                                                             : Backend::kCudaSm80;
}

std::string GpuAttention::kernels_for(const AttentionTensors& tensors) {
  const bool hopper = backend_for(tensors) == Backend::kCudaSm90;
  const std::string generic =
      variant_ != nullptr ? op::variant_kernel_name(variant_->cuda, fixed_.shape, params_, gpu_.architecture)
                          : std::string(op::generic_kernel_name(fixed_.shape, params_, gpu_.architecture));
  std::string names;
  const auto add = [&](const Part& part, std::string_view name) {
    if (part.extents.items > 0) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  };
  add(decode_, op::decode_kernel_name(params_));
  add(sm90_, hopper ? "attention_sm90" : generic);
  add(other_, generic);
  return names.empty() ? "none" : names;
}

// The checking mode: in a capture nothing can be waited for.
void GpuAttention::check_indices(const AttentionTensors& tensors, const Launch& launch) const {
  if (!checks_indices_ || cuda::rehearsal() != nullptr || cuda::is_capturing(gpu_.device, launch.stream))
    return;
  const auto num_pages = static_cast<std::int32_t>(tensors.num_kv);
  const kernel::IndexFault fault = device_plan_.check(params_.kv_indices, num_pages, gpu_, launch);
  if (fault.kind == kernel::IndexFault::kPage)
    fail(ErrorKind::kInvalidArgument,
         "{}: kv_indices: expected page numbers in [0, num_pages = {}), got {} as page {} of request {}",
         op_name_, num_pages, fault.page, fault.entry, fault.request);
  if (fault.kind == kernel::IndexFault::kContradiction)
    fail(ErrorKind::kInvalidArgument,
         "{}: qo_indptr, kv_indptr and lengths: expected numbers that agree with each other and with the "
         "declared "
         "capacity, got others for request {}",
         op_name_, fault.request);
}

// The generic kernel takes the same list, for tensors that copies of boxes cannot express.
void GpuAttention::run_sm90(const kernel::AttentionParams& params, const Launch& launch) {
  const op::AttentionCudaShape& shape = fixed_.shape;
  if (!op::expresses_sm90(shape, params, extents_))
    return op::launch_attention(shape, params, sm90_.extents.items, gpu_, launch);
  auto* list = reinterpret_cast<kernel::Sm90List*>(upload_.device_data() + sm90_.sm90_list);
  op::launch_sm90(shape, params, extents_, list, sm90_.extents.items, gpu_, launch);
}

void GpuAttention::run_variant(const AttentionTensors& tensors, const Launch& launch) {
  kernel::VariantParams params{.attention = params_of(other_), .arguments = {}, .merges = 0};
  read_variant_arguments(op_name_, *variant_, gpu_.device, *tensors.variant_arguments, params);
  op::launch_variant(variant_->cuda, fixed_.shape, params, other_.extents.items, other_.extents.merges, gpu_,
                     launch);
}

void GpuAttention::set_tensors(const AttentionTensors& tensors) {
  extents_ = {.q_rows = tensors.q->shape[0], .kv_rows = tensors.num_kv};
  ops::set_tensors(tensors, scales_, params_);
}

}  // namespace strobe::ops
