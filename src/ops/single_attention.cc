// Attention of one request over dense KV: declarations and calls of single_prefill and single_decode.
#include <map>
#include <utility>

#include "core/log.h"
#include "op/call.h"
#include "ops/attention_args.h"
#include "ops/attention_cpu.h"
#include "ops/attention_declare.h"
#include "ops/attention_gpu.h"
#include "reference/attention.h"

namespace strobe::ops {
namespace {

using op::Axes;
using op::Cost;
using op::Declare;
using op::Operator;
using op::Phase;
using op::same_as;

// Axis numbers, and the number of the operand lse, in the order of declaration.
enum { kQoLen, kKvLen, kNumQoHeads, kNumKvHeads, kHeadDimQk, kHeadDimVo, kMaskBytes };
constexpr int kLse = 6;

template <class Args>
void check(const Operator& op, const Args& args, const Axes& axes) {
  check_group(op, axes[kNumQoHeads], axes[kNumKvHeads]);
  check_head_dim(op, "q", axes[kHeadDimQk]);
  check_head_dim(op, "v", axes[kHeadDimVo]);
  check_kv_dtype(op, "k", args.q.dtype, args.k.dtype);
}

void check_mask(const Operator& op, const SinglePrefillArgs& args, const Axes& axes) {
  check_custom_mask(op, args.options, args.custom_mask);
  const std::int64_t bytes = (axes[kQoLen] * axes[kKvLen] + 7) / 8;
  if (args.custom_mask.given() && axes[kMaskBytes] < bytes)
    op::reject(op, "custom_mask", "expected at least {} bytes (qo_len * kv_len bits), got {}", bytes,
               describe(args.custom_mask));
}

template <class Args>
Cost cost(const Args& args, const Axes& axes, std::int64_t qo_len) {
  const std::int64_t kv_len = axes[kKvLen];
  Cost result;
  result.flops = attended_pairs(qo_len, kv_len, args.options) * static_cast<double>(axes[kNumQoHeads]) *
                 flops_per_pair(axes[kHeadDimQk], axes[kHeadDimVo]);
  result.bytes = static_cast<double>(attended_kv(qo_len, kv_len, args.options) * axes[kNumKvHeads] *
                                     (axes[kHeadDimQk] + axes[kHeadDimVo])) *
                     static_cast<double>(size_of(args.k.dtype)) +
                 static_cast<double>(args.q.bytes() + args.out.bytes()) +
                 (args.lse.given() ? static_cast<double>(args.lse.bytes()) : 0);
  result.math = attention_math(args.q.dtype, args.k.dtype);
  return result;
}

// The plans of the calling thread on GPUs, one a stream: a plan's memory is written in the order of its
// stream. Kept for the thread's next calls.
GpuAttention& attention_on(Device device, Stream stream) {
  constexpr std::size_t kMostStreams = 16;
  thread_local std::map<std::pair<int, void*>, GpuAttention> of_stream;
  const std::pair<int, void*> key{device.index, stream.handle};
  if (of_stream.size() >= kMostStreams && of_stream.find(key) == of_stream.end()) of_stream.clear();
  return of_stream[key];
}

// Plans one request and runs it. The plan's memory belongs to the calling thread and is kept for its next
// call.
template <class Args>
void run_planned(const Operator& op, const Args& args, const TensorView& q, const TensorView& out,
                 const TensorView& lse, const TensorView& custom_mask, const HeadScales& head_scales,
                 const Axes& axes, const Launch& launch) {
  const auto qo_len = static_cast<std::int32_t>(q.shape[0]), kv_len = static_cast<std::int32_t>(axes[kKvLen]);
  const std::int32_t qo_indptr[] = {0, qo_len}, kv_indptr[] = {0, kv_len}, kv_lens[] = {kv_len};
  const std::int64_t custom_mask_indptr[] = {0, custom_mask.given() ? custom_mask.shape[0] : 0};
  const AttentionShape shape{.qo_indptr = qo_indptr,
                             .kv_len = kv_lens,
                             .kv_indptr = kv_indptr,
                             .kv_indices = {},
                             .num_qo_heads = static_cast<int>(axes[kNumQoHeads]),
                             .num_kv_heads = static_cast<int>(axes[kNumKvHeads]),
                             .head_dim_qk = static_cast<int>(axes[kHeadDimQk]),
                             .head_dim_vo = static_cast<int>(axes[kHeadDimVo]),
                             .page_size = 0,
                             .q_dtype = q.dtype,
                             .kv_dtype = args.k.dtype,
                             .alibi_slopes = &args.alibi_slopes,
                             .custom_mask = &custom_mask,
                             .custom_mask_indptr = custom_mask_indptr};
  const bool hnd = args.kv_layout == KvLayout::kHnd;
  const std::size_t token = hnd ? 1 : 0, head = hnd ? 0 : 1;
  const AttentionTensors tensors{.q = &q,
                                 .k = &args.k,
                                 .v = &args.v,
                                 .sinks = &args.sinks,
                                 .out = &out,
                                 .lse = &lse,
                                 .k_stride_page = 0,
                                 .k_stride_token = args.k.strides[token],
                                 .k_stride_head = args.k.strides[head],
                                 .v_stride_page = 0,
                                 .v_stride_token = args.v.strides[token],
                                 .v_stride_head = args.v.strides[head],
                                 .num_kv = kv_len,
                                 .head_scales = head_scales};
  if (q.device.type == DeviceType::kCpu) {
    thread_local CpuAttention attention;
    attention.plan(shape, args.options);
    attention.run(tensors);
    return;
  }
  GpuAttention& attention = attention_on(q.device, launch.stream);
  attention.plan(shape, args.options,
                 {.op_name = op.name,
                  .device = q.device,
                  .stream = launch.stream,
                  .capacity = {},
                  .workspace = {},
                  .backend = launch.backend});
  attention.run(tensors, launch);
}

// [heads, dim] seen as one token [1, heads, dim].
TensorView as_one_token(const TensorView& view) {
  if (!view.given()) return view;
  TensorView token = view;
  token.rank = view.rank + 1;
  token.shape[0] = 1;
  token.strides[0] = 0;
  for (int axis = 0; axis < view.rank; ++axis) {
    token.shape[static_cast<std::size_t>(axis + 1)] = view.shape[static_cast<std::size_t>(axis)];
    token.strides[static_cast<std::size_t>(axis + 1)] = view.strides[static_cast<std::size_t>(axis)];
  }
  return token;
}

constexpr const char* kFormula =
    "out[i, h] = v_scale * softmax_j(mask(soft_cap(q[i, h] . k[j] * sm_scale * q_scale * k_scale + alibi))) "
    "v[j]; lse in base 2";

// What the two declarations share; `tokens` is the query axis with its comma, or nothing.
template <class Args>
Declare<Args> declare_single(const char* name, const char* summary, const char* function,
                             const std::string& tokens) {
  Declare<Args> declare(name, "attention", summary);
  declare.formula(kFormula)
      .source("Vaswani et al., Attention Is All You Need, 2017")
      .function(function)
      .axis("qo_len", 1024, "query tokens")
      .axis("kv_len", 1024, "KV tokens")
      .axis("num_qo_heads", 32, "query heads")
      .axis("num_kv_heads", 8, "KV heads")
      .axis("head_dim_qk", 128, "elements of a query or key")
      .axis("head_dim_vo", 128, "elements of a value or output")
      .axis("mask_bytes", 0, "bytes of the packed mask")
      .template input<&Args::q>("q", tokens + "num_qo_heads, head_dim_qk", kQueryDtypes, "queries")
      .template input<&Args::k>("k", "kv_len, num_kv_heads, head_dim_qk", kKvDtypes, "keys")
      .hnd("num_kv_heads, kv_len, head_dim_qk")
      .template input<&Args::v>("v", "kv_len, num_kv_heads, head_dim_vo", same_as("k"), "values")
      .hnd("num_kv_heads, kv_len, head_dim_vo")
      .template input<&Args::alibi_slopes>("alibi_slopes", "num_qo_heads", Dtype::kF32,
                                           "slope of each query head")
      .dense()
      .optional()
      .template input<&Args::sinks>("sinks", "num_qo_heads", Dtype::kF32,
                                    "one more logit of each query head, without a value")
      .dense()
      .optional()
      .template output<&Args::out>("out", tokens + "num_qo_heads, head_dim_vo", op::kFloats, "outputs")
      .template output<&Args::lse>("lse", tokens + "num_qo_heads", Dtype::kF32,
                                   "log2 of the sum of exponentials")
      .optional()
      .template choice<&Args::kv_layout>("kv_layout", {"NHD", "HND"}, "order of the axes of k and v")
      .rule("num_qo_heads is a multiple of num_kv_heads; head dimensions are multiples of 8 up to 512")
      .rule("k has the dtype of q, or e4m3 or e5m2 where q is not e4m3")
      .is_hnd([](const Args& args) { return args.kv_layout == KvLayout::kHnd; })
      .accuracy([](const Args& args, const Axes& axes, int operand, DeviceType device) {
        return reference::attention_accuracy(args.q.dtype, axes[kHeadDimQk] + axes[kKvLen], operand == kLse,
                                             device);
      })
      .reference([](const Args& args, const Axes&, op::Expected& expected) {
        reference::attention(args, expected);
      });
  declare_options<Args, &Args::options>(declare, false);
  return declare;
}

}  // namespace

const Operator& single_prefill_operator() {
  using Args = SinglePrefillArgs;
  static const Operator op = [] {
    constexpr auto kRun = [](const Args& args, const Axes& axes, const Launch& launch) {
      run_planned(single_prefill_operator(), args, args.q, args.out, args.lse, args.custom_mask,
                  HeadScales(args.q_scales, args.k_scales, args.v_scales), axes, launch);
    };
    Declare<Args> declare =
        declare_single<Args>("single_prefill", "Attention of one request's query tokens over dense KV.",
                             "strobe::single_prefill", "qo_len, ");
    declare
        .input<&Args::custom_mask>("custom_mask", "mask_bytes", Dtype::kU8,
                                   "bit i * kv_len + j, little endian")
        .dense()
        .optional();
    declare_head_scales<Args>(declare);
    declare.rule("q_scales, k_scales and v_scales are for q in e4m3")
        .check([](const Operator& self, const Args& args, const Axes& axes, Phase) {
          check(self, args, axes);
          check_mask(self, args, axes);
          check_head_scales(self, args);
        })
        .cost([](const Args& args, const Axes& axes) { return cost(args, axes, axes[kQoLen]); })
        .backend(Backend::kCpu, kRun)
        .backend(Backend::kCudaSm80, kRun)
        .backend(Backend::kCudaSm90, kRun);
    for (op::Routine& routine : single_prefill_routines()) declare.routine(std::move(routine));
    return declare.build();
  }();
  return op;
}

const Operator& single_decode_operator() {
  using Args = SingleDecodeArgs;
  static const Operator op = [] {
    constexpr auto kRun = [](const Args& args, const Axes& axes, const Launch& launch) {
      run_planned(single_decode_operator(), args, as_one_token(args.q), as_one_token(args.out),
                  as_one_token(args.lse), TensorView{}, HeadScales(), axes, launch);
    };
    Declare<Args> declare = declare_single<Args>(
        "single_decode", "Attention of one query token over dense KV.", "strobe::single_decode", "");
    declare
        .check([](const Operator& self, const Args& args, const Axes& axes, Phase) {
          check(self, args, axes);
          if (args.options.mask == MaskMode::kCustom)
            op::reject(self, "mask", "expected none or causal for a single query token, got custom");
        })
        .cost([](const Args& args, const Axes& axes) { return cost(args, axes, 1); })
        .backend(Backend::kCpu, kRun)
        .backend(Backend::kCudaSm80, kRun)
        .backend(Backend::kCudaSm90, kRun);
    for (op::Routine& routine : single_decode_routines()) declare.routine(std::move(routine));
    return declare.build();
  }();
  return op;
}

}  // namespace strobe::ops

namespace strobe::inline v1 {

void single_prefill(const SinglePrefillArgs& args, const Launch& launch) {
  op::call(ops::single_prefill_operator(), args, launch);
}
void single_decode(const SingleDecodeArgs& args, const Launch& launch) {
  op::call(ops::single_decode_operator(), args, launch);
}

}  // namespace strobe::inline v1
