// The declaration of batched attention, paged and ragged; the class is in batch_attention.cc.
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

namespace strobe::inline v1 {

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

}  // namespace strobe::inline v1

namespace strobe::ops {
namespace {

using op::Axes;
using op::Declare;
using op::Operator;
using op::Phase;
using op::reject;
using op::same_as;
using Args = BatchAttentionArgs;
using namespace attention_axis;  // NOLINT: enumerators alone

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
  if (plan.q_dtype == Dtype::kE4m3)
    reject(op, "q_dtype", "expected {} beside a variant, got e4m3", op::to_string(op::kFloats));
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
  if (!kQueryDtypes.contains(plan.q_dtype))
    reject(op, "q_dtype", "expected {}, got {}", op::to_string(kQueryDtypes), name(plan.q_dtype));
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
  check_head_scales(op, args.run);
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
          "alibi))) v[j], with each scale times that of the run and that of the head; lse in base 2")
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
      .input<&Args::run, &AttentionRunArgs::q>("q", "nnz_qo, num_qo_heads, head_dim_qk", kQueryDtypes,
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
  declare_head_scales<AttentionRunArgs, &Args::run>(declare);
  declare
      .attribute<&Args::run, &AttentionRunArgs::q_scale>("run_q_scale", -1e30, 1e30,
                                                         "factor of q in this run, times q_scale")
      .attribute<&Args::run, &AttentionRunArgs::k_scale>("run_k_scale", -1e30, 1e30,
                                                         "factor of k in this run, times k_scale")
      .attribute<&Args::run, &AttentionRunArgs::v_scale>("run_v_scale", -1e30, 1e30,
                                                         "factor of v in this run, times v_scale");
  declare.rule("num_qo_heads is a multiple of num_kv_heads; head dimensions are multiples of 8 up to 512")
      .rule("k has the dtype of q, or e4m3 or e5m2 where q is not e4m3; q, k and v have the planned dtypes")
      .rule("q_scales, k_scales and v_scales are for q in e4m3")
      .rule("indptr arrays start at 0 and do not decrease; page numbers are below num_pages")
      .is_hnd([](const Args& args) { return args.plan.kv_layout == KvLayout::kHnd; })
      .check([](const Operator& op, const Args& args, const Axes& axes, Phase phase) {
        phase == Phase::kPlan ? check_plan(op, args.plan, axes) : check_run(op, args);
      })
      .cost([](const Args& args, const Axes& axes) { return cost(args, axes); })
      .accuracy([](const Args& args, const Axes&, int operand, DeviceType device) {
        return reference::attention_accuracy(args.plan.q_dtype, args.plan.head_dim_qk + longest_kv(args.plan),
                                             operand == batch_attention_operator(args.paged()).operand("lse"),
                                             device);
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

}  // namespace strobe::ops

namespace strobe::op {

void declare_attention(Registry& registry) {
  registry.add(ops::single_decode_operator());
  registry.add(ops::single_prefill_operator());
  registry.add(ops::batch_attention_operator(true));
  registry.add(ops::batch_attention_operator(false));
}

}  // namespace strobe::op
