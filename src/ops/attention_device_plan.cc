// Plans from index arrays on the device: what is checked of them.
#include <limits>

#include "op/validate.h"
#include "ops/attention_args.h"
#include "ops/attention_declare.h"

namespace strobe::ops {
namespace {

using op::Operator;
using op::reject;

void check_array(const Operator& op, std::string_view argument, const TensorView& view, Device device,
                 std::int64_t size) {
  const bool right = view.given() && view.rank == 1 && view.dtype == Dtype::kI32 && view.device == device &&
                     (view.shape[0] < 2 || view.strides[0] == 1) && (size < 0 || view.shape[0] == size);
  if (!right)
    reject(op, argument, "expected i32[{}], dense, on {}, got {} on {}",
           size < 0 ? "num_page_indices" : fmt::format("{}", size), to_string(device),
           view.given() ? describe(view) : "nothing", view.given() ? to_string(view.device) : "no device");
  if (view.shape[0] > std::numeric_limits<std::int32_t>::max())
    reject(op, argument, "expected at most {} elements, got {}", std::numeric_limits<std::int32_t>::max(),
           view.shape[0]);
}

}  // namespace

void check_device_plan(const Operator& op, const AttentionPlanArgs& plan) {
  if (plan.device.type != DeviceType::kCuda)
    reject(op, "device", "expected a GPU for plan_on_device, got {}", to_string(plan.device));
  const AttentionCapacity& capacity = plan.capacity;
  if (!capacity.declared() || capacity.max_query_tokens <= 0)
    reject(op, "capacity", "expected max_batch_size and max_query_tokens for plan_on_device, got {} and {}",
           capacity.max_batch_size, capacity.max_query_tokens);
  if (plan.num_qo_heads < 1 || plan.num_kv_heads < 1 || plan.num_qo_heads % plan.num_kv_heads != 0)
    reject(op, "num_qo_heads", "expected a multiple of num_kv_heads = {}, got {}", plan.num_kv_heads,
           plan.num_qo_heads);
  check_head_dim(op, "head_dim_qk", plan.head_dim_qk);
  if (plan.head_dim_vo != 0) check_head_dim(op, "head_dim_vo", plan.head_dim_vo);
  if (plan.page_size < 0) reject(op, "page_size", "expected at least 0, got {}", plan.page_size);
  if (plan.options.mask == MaskMode::kCustom)
    reject(op, "mask", "expected none or causal for plan_on_device, got custom");
  if (plan.variant)
    reject(op, "variant", "expected none for plan_on_device, whose lists are the decode kernel's, got {}",
           plan.variant.id);
  const bool alibi = plan.options.pos_encoding == PosEncoding::kAlibi;
  if (alibi && !plan.alibi_slopes.given())
    reject(op, "alibi_slopes", "expected slopes on {} for plan_on_device, got nothing",
           to_string(plan.device));
  const std::int64_t indptr = plan.qo_indptr.given() ? plan.qo_indptr.shape[0] : 0;
  if (indptr < 1 || indptr - 1 > capacity.max_batch_size)
    reject(op, "qo_indptr", "expected 1 to max_batch_size + 1 = {} elements, got {}",
           capacity.max_batch_size + 1, indptr);
  check_array(op, "qo_indptr", plan.qo_indptr, plan.device, indptr);
  check_array(op, "kv_indptr", plan.kv_indptr, plan.device, indptr);
  if (plan.page_size == 0) return;
  check_array(op, "kv_indices", plan.kv_indices, plan.device, -1);
  if (plan.last_page_len.given() == plan.kv_len.given())
    reject(op, "last_page_len", "expected exactly one of last_page_len and kv_len, got {}",
           plan.kv_len.given() ? "both" : "neither");
  const bool by_length = plan.kv_len.given();
  check_array(op, by_length ? "kv_len" : "last_page_len", by_length ? plan.kv_len : plan.last_page_len,
              plan.device, indptr - 1);
}

}  // namespace strobe::ops
