// The batched attention: declaration of its paged and ragged forms, and the class.
#include "strobe/attention.h"

#include <algorithm>
#include <cmath>

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
#include "reference/attention.h"

namespace strobe {

std::vector<float> alibi_slopes(int num_heads) {
  std::vector<float> slopes(static_cast<std::size_t>(std::max(0, num_heads)));
  int power = 1;
  while (2 * power <= num_heads) power *= 2;
  for (int head = 0; head < num_heads; ++head) {
    const double exponent =
        head < power ? -8.0 * (head + 1) / power : -4.0 * (2 * (head - power) + 1) / power;
    slopes[static_cast<std::size_t>(head)] = static_cast<float>(std::exp2(exponent));
  }
  return slopes;
}

namespace ops {
namespace {

using op::Axes;
using op::Declare;
using op::Operator;
using op::Phase;
using op::reject;
using op::same_as;
using Args = BatchAttentionArgs;

// Axis numbers, in the order of declaration.
enum {
  kBatchSize,
  kNnzQo,
  kNumPageIndices,
  kMaskBytes,
  kNumQoHeads,
  kNumKvHeads,
  kHeadDimQk,
  kHeadDimVo,
  kPageSize,
  kNumKv,
  kWorkspaceBytes,
  kNumVariantArguments
};

constexpr std::int64_t kMostTokens = 1 << 30;  // of one request; positions are 32-bit

std::span<const std::int32_t> values(const TensorView& view) {
  return view.given() ? std::span(view.as<const std::int32_t>(), static_cast<std::size_t>(view.shape[0]))
                      : std::span<const std::int32_t>();
}

void check_indptr(const Operator& op, std::string_view argument, const TensorView& view) {
  const auto indptr = values(view);
  if (indptr[0] != 0) reject(op, argument, "expected to start at 0, got {}", indptr[0]);
  for (std::size_t i = 1; i < indptr.size(); ++i)
    if (indptr[i] < indptr[i - 1])
      reject(op, argument, "expected values that do not decrease, got {} after {} at index {}", indptr[i],
             indptr[i - 1], i);
}

void check_pages(const Operator& op, const AttentionPlanArgs& plan, const Axes& axes) {
  if (plan.last_page_len.given() == plan.kv_len.given())
    reject(op, "last_page_len", "expected exactly one of last_page_len and kv_len, got {}",
           plan.kv_len.given() ? "both" : "neither");
  const auto indptr = values(plan.kv_indptr);
  if (indptr.back() > axes[kNumPageIndices])
    reject(op, "kv_indptr", "expected at most num_page_indices = {} at the end, got {}",
           axes[kNumPageIndices], indptr.back());
  for (std::size_t request = 0; request + 1 < indptr.size(); ++request) {
    const std::int64_t pages = indptr[request + 1] - indptr[request];
    if (pages * plan.page_size > kMostTokens)
      reject(op, "kv_indptr", "expected at most {} tokens of a request, got {} pages of {} for request {}",
             kMostTokens, pages, plan.page_size, request);
    if (plan.last_page_len.given()) {
      const std::int32_t last = values(plan.last_page_len)[request];
      if (last < (pages > 0 ? 1 : 0) || last > (pages > 0 ? plan.page_size : 0))
        reject(op, "last_page_len", "expected {} for request {} with {} pages, got {}",
               pages > 0 ? fmt::format("1 to page_size = {}", plan.page_size) : "0", request, pages, last);
    } else if (const std::int32_t length = values(plan.kv_len)[request];
               length < 0 || length > pages * plan.page_size) {
      reject(op, "kv_len", "expected 0 to {} for request {} with {} pages of {}, got {}",
             pages * plan.page_size, request, pages, plan.page_size, length);
    }
  }
}

void check_custom_mask_indptr(const Operator& op, const AttentionPlanArgs& plan, const Axes& axes) {
  check_custom_mask(op, plan.options, plan.custom_mask);
  if (!plan.custom_mask.given()) return;
  if (!plan.custom_mask_indptr.given())
    reject(op, "custom_mask_indptr", "expected one with mask custom, got nothing");
  check_indptr(op, "custom_mask_indptr", plan.custom_mask_indptr);
  const auto indptr = values(plan.custom_mask_indptr);
  if (indptr.back() > axes[kMaskBytes])
    reject(op, "custom_mask_indptr", "expected at most mask_bytes = {} at the end, got {}", axes[kMaskBytes],
           indptr.back());
  std::vector<std::int32_t> lengths;
  kv_lengths(plan, lengths);
  const auto qo_indptr = values(plan.qo_indptr);
  for (std::size_t request = 0; request < lengths.size(); ++request) {
    const std::int64_t bits = std::int64_t{qo_indptr[request + 1] - qo_indptr[request]} * lengths[request];
    if (indptr[request + 1] - indptr[request] < (bits + 7) / 8)
      reject(op, "custom_mask_indptr", "expected {} bytes (qo_len * kv_len bits) for request {}, got {}",
             (bits + 7) / 8, request, indptr[request + 1] - indptr[request]);
  }
}

void check_variant(const Operator& op, const AttentionPlanArgs& plan) {
  if (find_variant(plan.variant) == nullptr)
    reject(op, "variant", "expected 0 or a variant that this process has defined, got {}", plan.variant.id);
  const AttentionOptions& options = plan.options;
  const char* const taken = options.logits_soft_cap != 0                 ? "logits_soft_cap"
                            : options.pos_encoding != PosEncoding::kNone ? "pos_encoding"
                            : plan.alibi_slopes.given()                  ? "alibi_slopes"
                                                                         : nullptr;
  if (taken != nullptr) reject(op, taken, "expected none beside a variant, whose text says it, got one");
}

void check_plan(const Operator& op, const AttentionPlanArgs& plan, const Axes& axes) {
  check_group(op, plan.num_qo_heads, plan.num_kv_heads);
  check_head_dim(op, "head_dim_qk", plan.head_dim_qk);
  if (plan.head_dim_vo != 0) check_head_dim(op, "head_dim_vo", plan.head_dim_vo);
  if (!op::kFloats.contains(plan.q_dtype))
    reject(op, "q_dtype", "expected {}, got {}", op::to_string(op::kFloats), name(plan.q_dtype));
  check_kv_dtype(op, "kv_dtype", plan.q_dtype, plan.kv_dtype);
  check_indptr(op, "qo_indptr", plan.qo_indptr);
  check_indptr(op, "kv_indptr", plan.kv_indptr);
  if (plan.page_size > 0) check_pages(op, plan, axes);
  check_custom_mask_indptr(op, plan, axes);
  for (const auto& [argument, view] :
       {std::pair{"custom_mask", &plan.custom_mask}, {"alibi_slopes", &plan.alibi_slopes}})
    if (view->given() && view->device != plan.device)
      reject(op, argument, "expected device {} (that of the plan), got {}", to_string(plan.device),
             describe(*view));
  if (plan.alibi_slopes.given() && plan.alibi_slopes.shape[0] != plan.num_qo_heads)
    reject(op, "alibi_slopes", "expected shape [num_qo_heads = {}], got {}", plan.num_qo_heads,
           describe(plan.alibi_slopes));
  if (plan.variant) check_variant(op, plan);
}

void check_run(const Operator& op, const Args& args) {
  const auto expect_dtype = [&](std::string_view argument, const TensorView& view, Dtype planned) {
    if (view.dtype != planned)
      reject(op, argument, "expected dtype {} as planned, got {}", name(planned), describe(view));
  };
  expect_dtype("q", args.run.q, args.plan.q_dtype);
  expect_dtype("k", args.run.k, args.plan.kv_dtype);
  expect_dtype("v", args.run.v, args.plan.kv_dtype);
  if (args.plan.variant && args.run.sinks.given())
    reject(op, "sinks", "expected none beside a variant, whose text says it, got some");
  if (!args.plan.variant && args.run.variant_arguments.given())
    reject(op, "variant_arguments", "expected none without a variant in the plan, got some");
}

std::int32_t longest_kv(const AttentionPlanArgs& plan) {
  std::vector<std::int32_t> lengths;
  kv_lengths(plan, lengths);
  return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
}

op::Cost cost(const Args& args, const Axes& axes) {
  std::vector<std::int32_t> lengths;
  kv_lengths(args.plan, lengths);
  const auto qo_indptr = values(args.plan.qo_indptr);
  double pairs = 0, kv_tokens = 0;
  for (std::size_t request = 0; request < lengths.size(); ++request) {
    const std::int64_t qo_len = qo_indptr[request + 1] - qo_indptr[request];
    pairs += attended_pairs(qo_len, lengths[request], args.plan.options);
    kv_tokens += static_cast<double>(attended_kv(qo_len, lengths[request], args.plan.options));
  }
  const double kv_token_bytes =
      static_cast<double>(args.plan.num_kv_heads * (args.plan.head_dim_qk + args.head_dim_vo())) *
      static_cast<double>(size_of(args.plan.kv_dtype));
  op::Cost result;
  result.flops = pairs * static_cast<double>(axes[kNumQoHeads]) *
                 flops_per_pair(args.plan.head_dim_qk, args.head_dim_vo());
  result.bytes = kv_tokens * kv_token_bytes + static_cast<double>(args.run.q.bytes() + args.run.out.bytes()) +
                 (args.run.lse.given() ? static_cast<double>(args.run.lse.bytes()) : 0);
  result.math = attention_math(args.plan.q_dtype, args.plan.kv_dtype);
  return result;
}

Operator declare_batch_attention(bool paged) {
  Declare<Args> declare(
      paged ? "batch_attention_paged" : "batch_attention_ragged", "attention",
      paged ? "Attention of a batch of requests over a paged KV cache: decode, prefill, append, mixed."
            : "Attention of a batch of requests over ragged KV rows: prefill, append, mixed.");
  declare
      .formula(
          "out[i, h] = v_scale * softmax_j(mask(soft_cap(q[i, h] . k[j] * sm_scale * q_scale * k_scale + "
          "alibi))) v[j], with each scale times that of the run; lse in base 2")
      .source(
          "Vaswani et al., 2017; Milakov and Gimelshein, Online normalizer calculation for softmax, 2018; "
          "Dao et al., FlashAttention, 2022")
      .function("strobe::BatchAttention::plan, strobe::BatchAttention::run")
      .axis("batch_size", 16, "requests")
      .axis("nnz_qo", 16, "query tokens of all requests")
      .axis("num_page_indices", 4096, "entries of the page table")
      .axis("mask_bytes", 0, "bytes of the packed mask")
      .axis("num_qo_heads", 32, "query heads")
      .axis("num_kv_heads", 8, "KV heads")
      .axis("head_dim_qk", 128, "elements of a query or key")
      .axis("head_dim_vo", 128, "elements of a value or output")
      .axis("page_size", 16, "tokens of a page")
      .axis(paged ? "num_pages" : "nnz_kv", 4096, paged ? "pages of the cache" : "KV tokens of all requests")
      .axis("workspace_bytes", 0, "bytes of the workspace")
      .axis("num_variant_arguments", 0, "2, and one for each argument of the variant");
  const std::string kv_nhd = paged ? "num_pages, page_size, num_kv_heads, " : "nnz_kv, num_kv_heads, ";
  const std::string kv_hnd = paged ? "num_pages, num_kv_heads, page_size, " : "num_kv_heads, nnz_kv, ";
  const auto index = [&]<auto... Path>(const char* name, const char* axes, const char* doc)->Declare<Args>& {
    return declare.input<&Args::plan, Path...>(name, axes, Dtype::kI32, doc).dense().host().planned();
  };
  index.operator()<&AttentionPlanArgs::qo_indptr>("qo_indptr", "batch_size+1", "query rows of each request");
  index.operator()<&AttentionPlanArgs::kv_indptr>(
      "kv_indptr", "batch_size+1", paged ? "range of kv_indices of each request" : "KV rows of each request");
  if (paged) {
    index.operator()<&AttentionPlanArgs::kv_indices>("kv_indices", "num_page_indices", "page numbers");
    index
        .
        operator()<&AttentionPlanArgs::last_page_len>("last_page_len", "batch_size",
                                                      "tokens in each request's last page")
        .optional();
    index
        .
        operator()<&AttentionPlanArgs::kv_len>("kv_len", "batch_size",
                                               "tokens of each request, instead of last_page_len")
        .optional();
  }
  declare
      .input<&Args::plan, &AttentionPlanArgs::custom_mask>(
          "custom_mask", "mask_bytes", Dtype::kU8, "bit i * kv_len + j of each request, little endian")
      .dense()
      .optional()
      .planned();
  index
      .
      operator()<&AttentionPlanArgs::custom_mask_indptr>("custom_mask_indptr", "batch_size+1",
                                                         "bytes of custom_mask of each request")
      .optional();
  declare
      .input<&Args::plan, &AttentionPlanArgs::alibi_slopes>("alibi_slopes", "num_qo_heads", Dtype::kF32,
                                                            "slope of each query head")
      .dense()
      .optional()
      .planned()
      .input<&Args::plan, &AttentionPlanArgs::workspace>(
          "workspace", "workspace_bytes", Dtype::kU8,
          "of the GPU's partial results; without one it has its own")
      .dense()
      .optional()
      .planned()
      .input<&Args::run, &AttentionRunArgs::q>("q", "nnz_qo, num_qo_heads, head_dim_qk", op::kFloats,
                                               "queries")
      .input<&Args::run, &AttentionRunArgs::k>("k", kv_nhd + "head_dim_qk", kKvDtypes, "keys")
      .hnd(kv_hnd + "head_dim_qk")
      .input<&Args::run, &AttentionRunArgs::v>("v", kv_nhd + "head_dim_vo", same_as("k"), "values")
      .hnd(kv_hnd + "head_dim_vo")
      .input<&Args::run, &AttentionRunArgs::sinks>("sinks", "num_qo_heads", Dtype::kF32,
                                                   "one more logit of each query head, without a value")
      .dense()
      .optional()
      .output<&Args::run, &AttentionRunArgs::out>("out", "nnz_qo, num_qo_heads, head_dim_vo", op::kFloats,
                                                  "outputs")
      .output<&Args::run, &AttentionRunArgs::lse>("lse", "nnz_qo, num_qo_heads", Dtype::kF32,
                                                  "log2 of the sum of exponentials")
      .optional()
      .input<&Args::run, &AttentionRunArgs::variant_arguments>("variant_arguments", "num_variant_arguments",
                                                               Dtype::kI64,
                                                               "VariantArguments of the planned variant")
      .dense()
      .host()
      .optional()
      .attribute<&Args::plan, &AttentionPlanArgs::num_qo_heads>("num_qo_heads", 1, 1 << 16, "query heads")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::num_kv_heads>("num_kv_heads", 1, 1 << 16,
                                                                "KV heads; divides num_qo_heads")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::head_dim_qk>("head_dim_qk", 8, 512, "a multiple of 8")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::head_dim_vo>("head_dim_vo", 0, 512,
                                                               "a multiple of 8; 0: head_dim_qk")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::page_size>("page_size", 0, 1 << 20,
                                                             "tokens of a page; 0: ragged KV")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::variant, &AttentionVariant::id>(
          "variant", 0, 0x1p31 - 1, "a user's hooks, by the number that defining them gave; 0: none")
      .planned()
      .choice<&Args::plan, &AttentionPlanArgs::kv_layout>("kv_layout", {"NHD", "HND"},
                                                          "order of the axes of k and v")
      .planned()
      .choice<&Args::plan, &AttentionPlanArgs::q_dtype>("q_dtype", op::dtype_names(), "dtype of q")
      .planned()
      .choice<&Args::plan, &AttentionPlanArgs::kv_dtype>("kv_dtype", op::dtype_names(), "dtype of k and v")
      .planned()
      .choice<&Args::plan, &AttentionPlanArgs::device, &Device::type>(op::kDeviceType, {"cpu", "cuda"},
                                                                      "where the tensors of run are")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::device, &Device::index>(op::kDeviceIndex, 0, 127,
                                                                          "the number of that device")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::capacity, &AttentionCapacity::max_batch_size>(
          "max_batch_size", 0, 1 << 20, "capacity of a CUDA graph: requests; 0: none is declared")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::capacity, &AttentionCapacity::max_query_tokens>(
          "max_query_tokens", 0, 1 << 30, "capacity: query tokens of all requests")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::capacity, &AttentionCapacity::max_qo_len>(
          "max_qo_len", 0, 1 << 30, "capacity: query tokens of a request; 0: max_query_tokens")
      .planned()
      .attribute<&Args::plan, &AttentionPlanArgs::capacity, &AttentionCapacity::max_kv_tokens>(
          "max_kv_tokens", 0, 0x1p40, "capacity: KV tokens of all requests, in whole pages")
      .planned();
  declare_options<Args, &Args::plan, &AttentionPlanArgs::options>(declare, true);
  declare
      .attribute<&Args::run, &AttentionRunArgs::q_scale>("run_q_scale", -1e30, 1e30,
                                                         "factor of q in this run, times q_scale")
      .attribute<&Args::run, &AttentionRunArgs::k_scale>("run_k_scale", -1e30, 1e30,
                                                         "factor of k in this run, times k_scale")
      .attribute<&Args::run, &AttentionRunArgs::v_scale>("run_v_scale", -1e30, 1e30,
                                                         "factor of v in this run, times v_scale");
  declare.rule("num_qo_heads is a multiple of num_kv_heads; head dimensions are multiples of 8 up to 512")
      .rule("k has the dtype of q, e4m3 or e5m2; q, k and v have the planned dtypes")
      .rule("indptr arrays start at 0 and do not decrease; page numbers are below num_pages")
      .is_hnd([](const Args& args) { return args.plan.kv_layout == KvLayout::kHnd; })
      .check([](const Operator& op, const Args& args, const Axes& axes, Phase phase) {
        phase == Phase::kPlan ? check_plan(op, args.plan, axes) : check_run(op, args);
      })
      .cost([](const Args& args, const Axes& axes) { return cost(args, axes); })
      .accuracy([](const Args& args, const Axes&, int operand) {
        return reference::attention_accuracy(
            args.plan.q_dtype, args.plan.head_dim_qk + longest_kv(args.plan),
            operand == batch_attention_operator(args.paged()).operand("lse"));
      })
      .reference([](const Args& args, const Axes&, op::Expected& expected) {
        reference::attention(args, expected);
      });
  declare.planned_by<BatchAttention, &Args::plan, &Args::run>(
      {Backend::kCpu, Backend::kCudaSm80, Backend::kCudaSm90});
  for (op::Routine& routine : batch_attention_routines(paged)) declare.routine(std::move(routine));
  return declare.build();
}

}  // namespace

const Operator& batch_attention_operator(bool paged) {
  static const Operator operators[2] = {declare_batch_attention(false), declare_batch_attention(true)};
  return operators[paged];
}

void kv_lengths(const AttentionPlanArgs& plan, std::vector<std::int32_t>& lengths) {
  const auto indptr = values(plan.kv_indptr);
  lengths.resize(indptr.size() - 1);
  for (std::size_t request = 0; request < lengths.size(); ++request) {
    const std::int32_t entries = indptr[request + 1] - indptr[request];
    if (plan.page_size == 0)
      lengths[request] = entries;
    else if (plan.kv_len.given())
      lengths[request] = values(plan.kv_len)[request];
    else
      lengths[request] =
          entries == 0 ? 0 : (entries - 1) * plan.page_size + values(plan.last_page_len)[request];
  }
}

}  // namespace ops

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
  axes.size[ops::kNnzQo] = plan.capacity.declared() ? -1 : least_rows;
  axes.size[ops::kNumQoHeads] = plan.num_qo_heads;
  axes.size[ops::kNumKvHeads] = plan.num_kv_heads;
  axes.size[ops::kHeadDimQk] = plan.head_dim_qk;
  axes.size[ops::kHeadDimVo] = args.head_dim_vo();
  axes.size[ops::kPageSize] = plan.page_size;
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
  if (paged && (state.lowest_page < 0 || state.highest_page >= axes[ops::kNumKv]))
    op::reject(op, "kv_indices", "expected page numbers in [0, num_pages = {}), got {}", axes[ops::kNumKv],
               state.lowest_page < 0 ? state.lowest_page : state.highest_page);
  if (state.least_kv > axes[ops::kNumKv] && !paged)
    op::reject(op, "k", "expected at least {} KV rows as planned, got nnz_kv = {}", state.least_kv,
               axes[ops::kNumKv]);
  if (run.q.device != state.args.plan.device)
    op::reject(op, "q", "expected device {} as planned, got {}", to_string(state.args.plan.device),
               to_string(run.q.device));
  op::select_backend(op, run.q.device, launch.backend);
  if (axes[ops::kNnzQo] < state.least_rows)
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
                                      .num_kv = axes[ops::kNumKv],
                                      .qk_scale = run.q_scale * run.k_scale,
                                      .v_scale = run.v_scale};
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

namespace op {

void declare_attention(Registry& registry) {
  registry.add(ops::single_decode_operator());
  registry.add(ops::single_prefill_operator());
  registry.add(ops::batch_attention_operator(true));
  registry.add(ops::batch_attention_operator(false));
}

}  // namespace op
}  // namespace strobe
