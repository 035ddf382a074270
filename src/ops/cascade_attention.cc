#include "strobe/cascade_attention.h"

#include <initializer_list>
#include <vector>

#include "core/message.h"
#include "cuda/device_buffer.h"
#include "cuda/rehearsal.h"
#include "strobe/cascade.h"

namespace strobe::inline v1 {
namespace {

constexpr const char* kName = "multi_level_cascade_attention";

void check_options(const AttentionPlanArgs& common) {
  const AttentionOptions& options = common.options;
  const char* asked = options.window_left >= 0                     ? "window_left"
                      : options.mask == MaskMode::kCustom          ? "mask custom"
                      : options.pos_encoding != PosEncoding::kNone ? "pos_encoding"
                      : common.alibi_slopes.given()                ? "alibi_slopes"
                                                                   : nullptr;
  if (asked != nullptr)
    fail(ErrorKind::kUnsupported,
         "{}: {}: expected none, since positions across levels are not known to a level", kName, asked);
  if (common.page_size < 1)
    fail(ErrorKind::kInvalidArgument, "{}: page_size: expected at least 1, got {}", kName, common.page_size);
  if (common.capacity.declared() || common.workspace.given())
    fail(ErrorKind::kUnsupported, "{}: {}: expected none: the levels would share it", kName,
         common.workspace.given() ? "workspace" : "capacity");
}

// Results on the way, where the operands of run are. Keeps its memory.
class Scratch {
 public:
  TensorView f32(Device device, std::initializer_list<std::int64_t> shape) {
    std::int64_t elements = 1;
    for (std::int64_t extent : shape) elements *= extent;
    if (device.type == DeviceType::kCpu) {
      host_ = Tensor(Dtype::kF32, shape);
      return host_;
    }
    const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
    const bool rehearsed = cuda::rehearsal() != nullptr;
    if (!rehearsed && (buffer_.bytes() < bytes || buffer_.device() != device))
      buffer_ = cuda::DeviceBuffer(device, bytes);
    return TensorView(buffer_.data(), Dtype::kF32, shape, device);
  }

 private:
  Tensor host_;
  cuda::DeviceBuffer buffer_;
};

}  // namespace

struct MultiLevelCascadeAttention::State {
  std::vector<BatchAttention> levels;
  // Each level's output and lse in f32: [nnz_qo, levels, num_qo_heads, head_dim_vo], [nnz_qo, levels,
  // num_qo_heads]; and the merged lse.
  Scratch out_memory, lse_memory, merged_lse_memory;
  TensorView out, lse, merged_lse;
};

MultiLevelCascadeAttention::MultiLevelCascadeAttention() : state_(std::make_unique<State>()) {}
MultiLevelCascadeAttention::~MultiLevelCascadeAttention() = default;
MultiLevelCascadeAttention::MultiLevelCascadeAttention(MultiLevelCascadeAttention&&) noexcept = default;
MultiLevelCascadeAttention& MultiLevelCascadeAttention::operator=(MultiLevelCascadeAttention&&) noexcept =
    default;

void MultiLevelCascadeAttention::plan(std::span<const CascadeLevel> levels, const AttentionPlanArgs& common,
                                      const Launch& launch) {
  if (levels.empty()) fail(ErrorKind::kInvalidArgument, "{}: levels: expected at least one, got none", kName);
  check_options(common);
  State& state = *state_;
  std::vector<BatchAttention> planned = std::move(state.levels);
  state.levels.clear();  // a plan that fails leaves nothing to run
  planned.resize(levels.size());
  std::int64_t tokens = -1;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    AttentionPlanArgs args = common;
    args.qo_indptr = levels[i].qo_indptr;
    args.kv_indptr = levels[i].kv_indptr;
    args.kv_indices = levels[i].kv_indices;
    args.last_page_len = levels[i].last_page_len;
    if (i + 1 < levels.size()) args.options.mask = MaskMode::kNone;
    try {
      planned[i].plan(args, launch);
    } catch (const Error& error) {
      fail(error.kind(), "{}: level {}: {}", kName, i, error.what());
    }
    const std::int64_t level_tokens = args.qo_indptr.as<std::int32_t>()[args.qo_indptr.shape[0] - 1];
    if (tokens >= 0 && level_tokens != tokens)
      fail(ErrorKind::kInvalidArgument,
           "{}: level {}: qo_indptr: expected {} query rows as at level 0, got {}", kName, i, tokens,
           level_tokens);
    tokens = level_tokens;
  }
  const auto count = static_cast<std::int64_t>(levels.size());
  const std::int64_t heads = common.num_qo_heads,
                     head_dim = common.head_dim_vo > 0 ? common.head_dim_vo : common.head_dim_qk;
  state.out = state.out_memory.f32(common.device, {tokens, count, heads, head_dim});
  state.lse = state.lse_memory.f32(common.device, {tokens, count, heads});
  state.merged_lse = state.merged_lse_memory.f32(common.device, {tokens, heads});
  state.levels = std::move(planned);
}

void MultiLevelCascadeAttention::run(const AttentionRunArgs& args, const Launch& launch) {
  State& state = *state_;
  if (state.levels.empty())
    fail(ErrorKind::kInvalidArgument, "{}: run: expected a successful plan before it, got none", kName);
  if (state.levels.size() == 1) return state.levels[0].run(args, launch);
  for (std::size_t i = 0; i < state.levels.size(); ++i) {
    AttentionRunArgs level = args;
    level.out = state.out.select(1, static_cast<std::int64_t>(i));
    level.lse = state.lse.select(1, static_cast<std::int64_t>(i));
    if (i + 1 < state.levels.size()) level.sinks = {};  // a sink counts once
    state.levels[i].run(level, launch);
  }
  merge_states({.v = state.out,
                .s = state.lse,
                .v_merged = args.out,
                .s_merged = args.lse.given() ? args.lse : state.merged_lse},
               launch);
}

}  // namespace strobe::inline v1
