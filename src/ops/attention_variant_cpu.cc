#include "ops/attention_variant_cpu.h"

#include <algorithm>
#include <sstream>

#include "cpu/isa_flags.h"
#include "jit/host_compiler.h"
#include "jit/inline_headers.h"
#include "strobe/threads.h"

namespace strobe::ops {
namespace {

constexpr std::int32_t kItemRows = 64;

jit::HostProgram program_of(const VariantRecord& variant) {
  jit::HostProgram program{
      .name = "attention_variant",
      .constants = {{"const char*", "kVariant", '"' + variant.text.name + '"'}},
      .source = jit::inline_headers(variant.source + "#include \"attention/attention_variant_host.h\"\n",
                                    "attention_variant"),
      .options = {"-fno-exceptions", "-fno-rtti", "-fno-math-errno", "-ffp-contract=fast", "-Wno-psabi"}};
  std::istringstream flags{std::string(cpu::compiler_flags(cpu::active_isa()))};
  for (std::string flag; flags >> flag;) program.options.push_back(flag);
  return program;
}

}  // namespace

void CpuVariantAttention::plan(const AttentionShape& shape, const AttentionOptions& options) {
  variant_ = shape.variant;
  const auto library = jit::host_compiler().obtain(program_of(*variant_));
  attend_ = library->function<Kernel>("strobe_variant_attend");
  merge_ = library->function<Kernel>("strobe_variant_merge");
  plan_work(shape, options);
  params_ = {};
  kernel::AttentionParams& params = params_.attention;
  scales_ = set_planned(shape, options, params);
  params.kv_indices = shape.kv_indices.data();
  if (shape.custom_mask->given()) {
    params.custom_mask = shape.custom_mask->as<unsigned char>();
    params.custom_mask_indptr = shape.custom_mask_indptr.data();
  }
  params.items = list_.items.data();
  params.merges = list_.merges.data();
  params.partial_rows = list_.partial_rows;
  plan_workspace();
}

void CpuVariantAttention::plan_work(const AttentionShape& shape, const AttentionOptions& options) {
  requests_.clear();
  for (std::size_t r = 0; r < shape.kv_len.size(); ++r)
    requests_.push_back({.request = static_cast<std::int32_t>(r),
                         .q_row = shape.qo_indptr[r],
                         .qo_len = shape.qo_indptr[r + 1] - shape.qo_indptr[r],
                         .kv_base = shape.kv_indptr[r],
                         .kv_len = shape.kv_len[r]});
  const int group = shape.num_qo_heads / shape.num_kv_heads;
  workers_ = executor().max_workers();
  maker_.make(requests_,
              {.num_kv_heads = shape.num_kv_heads,
               .group_size = group,
               .workers = workers_,
               .causal = options.mask == MaskMode::kCausal,
               .window_left = options.window_left,
               .deterministic = options.deterministic,
               .item_rows = kItemRows,
               .heads_together = 1},
              list_);
  max_rows_ = 0;
  for (const kernel::AttentionItem& item : list_.items)
    max_rows_ = std::max(max_rows_, item.q_tokens * group);
}

void CpuVariantAttention::plan_workspace() {
  kernel::AttentionParams& params = params_.attention;
  scratch_ = (static_cast<std::size_t>(
                  kernel::host_scratch_floats(max_rows_, params.head_dim_qk, params.head_dim_vo)) +
              15) /
             16 * 16;
  const std::size_t scratch = static_cast<std::size_t>(workers_) * scratch_,
                    partial_rows =
                        static_cast<std::size_t>(list_.slots) * static_cast<std::size_t>(list_.partial_rows),
                    partial_out = partial_rows * static_cast<std::size_t>(params.head_dim_vo);
  workspace_floats_ = static_cast<std::int64_t>(scratch + partial_out + partial_rows);
  if (!workspace_.view().given() || workspace_.view().size() < workspace_floats_)
    workspace_ = Tensor(Dtype::kF32, {workspace_floats_});
  params.partial_out = workspace_.as<float>() + scratch;
  params.partial_lse = params.partial_out + partial_out;
}

void CpuVariantAttention::run(std::string_view op_name, const AttentionTensors& tensors) {
  read_variant_arguments(op_name, *variant_, {}, *tensors.variant_arguments, params_);
  set_tensors(tensors, scales_, params_.attention);
  for_heads(list_.items.size(), attend_);
  for_heads(list_.merges.size(), merge_);
}

void CpuVariantAttention::for_heads(std::size_t count, Kernel* kernel) {
  const int heads = params_.attention.num_kv_heads;
  if (count == 0) return;
  executor().run(static_cast<int>(count) * heads, workers_, [&](int call, int worker) {
    kernel(params_, call / heads, call % heads,
           workspace_.as<float>() + static_cast<std::size_t>(worker) * scratch_);
  });
}

}  // namespace strobe::ops
