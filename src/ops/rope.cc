#include "strobe/rope.h"

#include <algorithm>

#include "cpu/parallel.h"
#include "cpu/rope_kernel.h"
#include "cpu/rope_turns.h"
#include "op/call.h"
#include "op/declare.h"
#include "ops/rope_cuda.h"
#include "reference/rope.h"

namespace strobe::inline v1 {
namespace {

using op::Accuracy;
using op::Axes;
using op::Cost;
using op::Declare;
using op::kFloats;
using op::Operator;
using op::Phase;
using op::Random;
using op::reject;
using op::same_as;

// Axis numbers in these declarations; each has further ones of its own.
constexpr int kNnz = 0, kHeadDim = 3, kBatchSize = 4, kMaxPosition = 4, kRotaryDim = 5;

constexpr std::int64_t kLongestContext = 131072;  // of Llama 3.1: what benchmarks draw positions from
constexpr const char* kFormula =
    "out[a] = x[a] cos - x[b] sin, out[b] = x[b] cos + x[a] sin; (a, b) = interleave ? (2i, 2i + 1) : (i, i "
    "+ rotary_dim / 2)";
constexpr const char* kSource =
    "Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021";
constexpr Dtype kInt32 = Dtype::kI32;
constexpr op::DtypeSet kIndices = {Dtype::kI32, Dtype::kI64};

int rotary_dim_of(const RopeArgs& args) {
  return args.rotary_dim != 0 ? args.rotary_dim : static_cast<int>(args.q.shape[2]);
}
int rotary_dim_of(const RopePosIdsArgs& args) {
  return args.rotary_dim != 0 ? args.rotary_dim : static_cast<int>(args.q.shape[2]);
}
int rotary_dim_of(const RopeCosSinCacheArgs& args) { return static_cast<int>(args.cos_sin_cache.shape[1]); }

// What every form declares, in the order that their axis numbers and references rely on.
template <class Args>
Declare<Args> declare_form(const char* name, const char* summary) {
  Declare<Args> declare(name, "rope", summary);
  declare.formula(kFormula)
      .source(kSource)
      .function(std::string("strobe::") + name)
      .axis("nnz", 4096, "tokens of all requests")
      .axis("num_qo_heads", 32, "query heads")
      .axis("num_kv_heads", 8, "key heads")
      .axis("head_dim", 128, "elements of a head");
  return declare;
}

template <class Args>
void declare_inputs(Declare<Args>& declare) {
  declare.template input<&Args::q>("q", "nnz, num_qo_heads, head_dim", kFloats, "queries")
      .template input<&Args::k>("k", "nnz, num_kv_heads, head_dim", same_as("q"), "keys");
}

template <class Args>
void declare_outputs(Declare<Args>& declare) {
  declare
      .template output<&Args::q_out>("q_out", "nnz, num_qo_heads, head_dim", same_as("q"), "rotated queries")
      .may_alias("q")
      .template output<&Args::k_out>("k_out", "nnz, num_kv_heads, head_dim", same_as("q"), "rotated keys")
      .may_alias("k")
      .template attribute<&Args::interleave>("interleave",
                                             "pairs (2i, 2i + 1) instead of (i, i + rotary_dim / 2)")
      .accuracy([](const Args&, const Axes&, int) { return Accuracy{.reduction = 2}; });
}

template <class Args>
void declare_scaling(Declare<Args>& declare) {
  declare
      .template attribute<&Args::rotary_dim>("rotary_dim", 0, kMaxRotaryDim,
                                             "elements of a head that are rotated; 0: all")
      .template attribute<&Args::scaling, &RopeScaling::scale>("rope_scale", 1e-6, 1e6,
                                                               "divides positions; Llama 3.1: the factor")
      .template attribute<&Args::scaling, &RopeScaling::theta>("rope_theta", 1, 1e12,
                                                               "base of the frequencies")
      .template attribute<&Args::scaling, &RopeScaling::llama31>(
          "llama31", "Llama 3.1's scaling of low frequencies only")
      .template attribute<&Args::scaling, &RopeScaling::low_freq_factor>(
          "low_freq_factor", 0, 1e6, "turns in the old context up to which a frequency is low")
      .template attribute<&Args::scaling, &RopeScaling::high_freq_factor>(
          "high_freq_factor", 0, 1e6, "turns in the old context from which one is high")
      .template attribute<&Args::scaling, &RopeScaling::old_context_len>(
          "old_context_len", 1, 1 << 30, "context length of the first training")
      .rule("rotary_dim is even and at most head_dim")
      .rule("high_freq_factor is greater than low_freq_factor");
}

template <class Args>
Cost rotation_cost(const Args& args, double table_bytes) {
  const double elements = static_cast<double>(args.q.size() + args.k.size());
  const double heads = static_cast<double>(args.q.shape[0] * (args.q.shape[1] + args.k.shape[1]));
  return {.flops = 3 * heads * rotary_dim_of(args),
          .bytes = 2 * elements * static_cast<double>(size_of(args.q.dtype)) + table_bytes};
}

void check_rotary_dim(const Operator& op, const char* argument, int rotary_dim, const Axes& axes) {
  if (rotary_dim % 2 != 0 || rotary_dim > axes[kHeadDim] || rotary_dim > kMaxRotaryDim)
    reject(op, argument, "expected an even rotary_dim of at most head_dim = {} and {}, got {}",
           axes[kHeadDim], kMaxRotaryDim, rotary_dim);
}

template <class Args>
void check_scaling(const Operator& op, const Args& args, const Axes& axes) {
  check_rotary_dim(op, "rotary_dim", rotary_dim_of(args), axes);
  if (!(args.scaling.high_freq_factor > args.scaling.low_freq_factor))
    reject(op, "high_freq_factor", "expected more than low_freq_factor = {}, got {}",
           args.scaling.low_freq_factor, args.scaling.high_freq_factor);
}

void check_indptr(const Operator& op, const RopeArgs& args, const Axes& axes) {
  if (args.indptr.device.type != DeviceType::kCpu) return;
  const auto* indptr = args.indptr.as<const std::int32_t>();
  const std::int64_t batch_size = axes[kBatchSize];
  if (indptr[0] != 0) reject(op, "indptr", "expected indptr[0] = 0, got {}", indptr[0]);
  for (std::int64_t r = 0; r < batch_size; ++r)
    if (indptr[r + 1] < indptr[r])
      reject(op, "indptr", "expected values that do not decrease, got indptr[{}] = {} after {}", r + 1,
             indptr[r + 1], indptr[r]);
  if (indptr[batch_size] != axes[kNnz])
    reject(op, "indptr", "expected indptr[batch_size = {}] = nnz = {}, got {}", batch_size, axes[kNnz],
           indptr[batch_size]);
}

template <class Index>
void check_positions(const Operator& op, const Index* positions, std::int64_t count, std::int64_t end) {
  for (std::int64_t t = 0; t < count; ++t)
    if (positions[t] < 0 || positions[t] >= end)
      reject(op, "positions", "expected values in [0, max_position = {}), got positions[{}] = {}", end, t,
             positions[t]);
}

void check_table(const Operator& op, const RopeCosSinCacheArgs& args, const Axes& axes) {
  check_rotary_dim(op, "cos_sin_cache", rotary_dim_of(args), axes);
  if (args.positions.device.type != DeviceType::kCpu) return;
  if (args.positions.dtype == Dtype::kI64)
    check_positions(op, args.positions.as<const std::int64_t>(), axes[kNnz], axes[kMaxPosition]);
  else
    check_positions(op, args.positions.as<const std::int32_t>(), axes[kNnz], axes[kMaxPosition]);
}

cpu::RopeHeads heads_of(const TensorView& in, const TensorView& out, bool stream) {
  return {.in = in.data,
          .out = out.data,
          .heads = in.shape[1],
          .in_token_stride = in.strides[0],
          .in_head_stride = in.strides[1],
          .out_token_stride = out.strides[0],
          .out_head_stride = out.strides[1],
          .stream = stream && in.data != out.data};
}

// The kernel's arguments but for positions and angles.
template <class Args>
cpu::RopeTokens tokens_of(const Args& args) {
  const bool stream = cpu::writes_past_caches(args.q_out.bytes() + args.k_out.bytes());
  cpu::RopeTokens tokens{};
  tokens.heads[0] = heads_of(args.q, args.q_out, stream);
  tokens.heads[1] = heads_of(args.k, args.k_out, stream);
  tokens.head_dim = static_cast<int>(args.q.shape[2]);
  tokens.rotary_dim = rotary_dim_of(args);
  tokens.interleave = args.interleave;
  tokens.dtype = args.q.dtype;
  return tokens;
}

void set_position_ids(cpu::RopeTokens& tokens, const TensorView& position_ids) {
  tokens.position_ids = position_ids.data;
  tokens.wide_position_ids = position_ids.dtype == Dtype::kI64;
}

void run_cpu(const cpu::RopeTokens& tokens, std::int64_t nnz) {
  const std::int64_t heads = tokens.heads[0].heads + tokens.heads[1].heads;
  const std::int64_t bytes = 2 * heads * tokens.head_dim * static_cast<std::int64_t>(size_of(tokens.dtype));
  auto* kernel = *cpu::rope_tokens;
  cpu::parallel_ranges(nnz, bytes, [&](std::int64_t begin, std::int64_t end) { kernel(tokens, begin, end); });
}

template <class Index>
void fill_uniform(const TensorView& view, std::int64_t end, Random& random) {
  for (std::int64_t i = 0; i < view.shape[0]; ++i)
    view.as<Index>()[i] = static_cast<Index>(random.integer(0, end - 1));
}

void fill_positions(const TensorView& view, std::int64_t end, Random& random) {
  if (view.dtype == Dtype::kI64)
    fill_uniform<std::int64_t>(view, end, random);
  else
    fill_uniform<std::int32_t>(view, end, random);
}

const Operator& apply_rope_operator() {
  static const Operator op = [] {
    auto declare =
        declare_form<RopeArgs>("apply_rope", "Rotary position embedding of a ragged batch, by offsets.");
    declare.axis("batch_size", 16, "requests");
    declare_inputs(declare);
    declare.input<&RopeArgs::indptr>("indptr", "batch_size+1", kInt32, "first token of each request, and nnz")
        .dense()
        .fill([](const TensorView& view, const Axes& axes, const RopeArgs&, Random&) {
          for (std::int64_t r = 0; r <= axes[kBatchSize]; ++r)
            view.as<std::int32_t>()[r] =
                static_cast<std::int32_t>(r * axes[kNnz] / std::max<std::int64_t>(1, axes[kBatchSize]));
        })
        .input<&RopeArgs::offsets>("offsets", "batch_size", kInt32, "position of each request's first token")
        .dense()
        .fill([](const TensorView& view, const Axes&, const RopeArgs&, Random& random) {
          fill_positions(view, kLongestContext, random);
        });
    declare_outputs(declare);
    declare_scaling(declare);
    return declare.rule("indptr goes from 0 to nnz and does not decrease")
        .check([](const Operator& self, const RopeArgs& args, const Axes& axes, Phase) {
          check_scaling(self, args, axes);
          check_indptr(self, args, axes);
        })
        .cost([](const RopeArgs& args, const Axes&) {
          return rotation_cost(args, static_cast<double>(args.indptr.bytes() + args.offsets.bytes()));
        })
        .reference([](const RopeArgs& args, const Axes&, op::Expected& expected) {
          reference::apply_rope(args, expected);
        })
        .backend(Backend::kCpu,
                 [](const RopeArgs& args, const Axes& axes, const Launch&) {
                   cpu::RopeTokens tokens = tokens_of(args);
                   tokens.indptr = args.indptr.as<const std::int32_t>();
                   tokens.offsets = args.offsets.as<const std::int32_t>();
                   tokens.batch_size = axes[kBatchSize];
                   tokens.turns = cpu::rope_turns(tokens.rotary_dim, args.scaling);
                   run_cpu(tokens, axes[kNnz]);
                 })
        .backend(Backend::kCudaSm80,
                 [](const RopeArgs& args, const Axes&, const Launch& launch) {
                   op::run_rope_cuda({.q = args.q,
                                      .k = args.k,
                                      .q_out = args.q_out,
                                      .k_out = args.k_out,
                                      .indptr = &args.indptr,
                                      .offsets = &args.offsets,
                                      .rotary_dim = rotary_dim_of(args),
                                      .interleave = args.interleave,
                                      .scaling = &args.scaling},
                                     launch);
                 })
        .build();
  }();
  return op;
}

const Operator& apply_rope_pos_ids_operator() {
  static const Operator op = [] {
    auto declare =
        declare_form<RopePosIdsArgs>("apply_rope_pos_ids", "Rotary position embedding by position ids.");
    declare_inputs(declare);
    declare.input<&RopePosIdsArgs::pos_ids>("pos_ids", "nnz", kIndices, "position of each token")
        .dense()
        .fill([](const TensorView& view, const Axes&, const RopePosIdsArgs&, Random& random) {
          fill_positions(view, kLongestContext, random);
        });
    declare_outputs(declare);
    declare_scaling(declare);
    return declare
        .check([](const Operator& self, const RopePosIdsArgs& args, const Axes& axes, Phase) {
          check_scaling(self, args, axes);
        })
        .cost([](const RopePosIdsArgs& args, const Axes&) {
          return rotation_cost(args, static_cast<double>(args.pos_ids.bytes()));
        })
        .reference([](const RopePosIdsArgs& args, const Axes&, op::Expected& expected) {
          reference::apply_rope_pos_ids(args, expected);
        })
        .backend(Backend::kCpu,
                 [](const RopePosIdsArgs& args, const Axes& axes, const Launch&) {
                   cpu::RopeTokens tokens = tokens_of(args);
                   set_position_ids(tokens, args.pos_ids);
                   tokens.turns = cpu::rope_turns(tokens.rotary_dim, args.scaling);
                   run_cpu(tokens, axes[kNnz]);
                 })
        .backend(Backend::kCudaSm80,
                 [](const RopePosIdsArgs& args, const Axes&, const Launch& launch) {
                   op::run_rope_cuda({.q = args.q,
                                      .k = args.k,
                                      .q_out = args.q_out,
                                      .k_out = args.k_out,
                                      .positions = &args.pos_ids,
                                      .rotary_dim = rotary_dim_of(args),
                                      .interleave = args.interleave,
                                      .scaling = &args.scaling},
                                     launch);
                 })
        .build();
  }();
  return op;
}

const Operator& apply_rope_with_cos_sin_cache_operator() {
  static const Operator op = [] {
    auto declare = declare_form<RopeCosSinCacheArgs>(
        "apply_rope_with_cos_sin_cache", "Rotary position embedding by a table of cosines and sines.");
    declare.axis("max_position", kLongestContext, "rows of the table")
        .axis("rotary_dim", 128, "elements of a head that are rotated");
    declare_inputs(declare);
    declare.input<&RopeCosSinCacheArgs::positions>("positions", "nnz", kIndices, "row of each token")
        .dense()
        .fill([](const TensorView& view, const Axes& axes, const RopeCosSinCacheArgs&, Random& random) {
          fill_positions(view, axes[kMaxPosition], random);
        })
        .input<&RopeCosSinCacheArgs::cos_sin_cache>("cos_sin_cache", "max_position, rotary_dim", Dtype::kF32,
                                                    "rotary_dim / 2 cosines, then sines");
    declare_outputs(declare);
    return declare.rule("positions are in [0, max_position)")
        .rule("rotary_dim is even and at most head_dim")
        .check([](const Operator& self, const RopeCosSinCacheArgs& args, const Axes& axes, Phase) {
          check_table(self, args, axes);
        })
        .cost([](const RopeCosSinCacheArgs& args, const Axes& axes) {
          const double rows = static_cast<double>(std::min(axes[kNnz], axes[kMaxPosition]));
          return rotation_cost(args, static_cast<double>(args.positions.bytes()) +
                                         rows * static_cast<double>(4 * axes[kRotaryDim]));
        })
        .reference([](const RopeCosSinCacheArgs& args, const Axes&, op::Expected& expected) {
          reference::apply_rope_with_cos_sin_cache(args, expected);
        })
        .backend(Backend::kCpu,
                 [](const RopeCosSinCacheArgs& args, const Axes& axes, const Launch&) {
                   cpu::RopeTokens tokens = tokens_of(args);
                   set_position_ids(tokens, args.positions);
                   tokens.cos_sin_cache = args.cos_sin_cache.as<const float>();
                   tokens.cos_sin_stride = args.cos_sin_cache.strides[0];
                   run_cpu(tokens, axes[kNnz]);
                 })
        .backend(Backend::kCudaSm80,
                 [](const RopeCosSinCacheArgs& args, const Axes&, const Launch& launch) {
                   op::run_rope_cuda({.q = args.q,
                                      .k = args.k,
                                      .q_out = args.q_out,
                                      .k_out = args.k_out,
                                      .positions = &args.positions,
                                      .cos_sin_cache = &args.cos_sin_cache,
                                      .rotary_dim = rotary_dim_of(args),
                                      .interleave = args.interleave},
                                     launch);
                 })
        .build();
  }();
  return op;
}

}  // namespace

void apply_rope(const RopeArgs& args, const Launch& launch) { op::call(apply_rope_operator(), args, launch); }
void apply_rope_pos_ids(const RopePosIdsArgs& args, const Launch& launch) {
  op::call(apply_rope_pos_ids_operator(), args, launch);
}
void apply_rope_with_cos_sin_cache(const RopeCosSinCacheArgs& args, const Launch& launch) {
  op::call(apply_rope_with_cos_sin_cache_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_rope(Registry& registry) {
  registry.add(apply_rope_operator());
  registry.add(apply_rope_pos_ids_operator());
  registry.add(apply_rope_with_cos_sin_cache_operator());
}

}  // namespace strobe::op
