#include "strobe/page.h"

#include "cpu/page_kernel.h"
#include "cpu/parallel.h"
#include "op/call.h"
#include "ops/page_cuda.h"
#include "ops/page_places.h"
#include "reference/page.h"

namespace strobe::inline v1 {
namespace {

using op::Accuracy;
using op::Axes;
using op::Cost;
using op::kFloatsAndFp8;
using op::kFp8;
using op::Operator;
using op::Phase;
using op::reject;
using op::same_as;

constexpr double kSmallestScale = 1e-30, kLargestScale = 1e30;

bool converts(const TensorView& tokens, const TensorView& cache) { return tokens.dtype != cache.dtype; }

// A cache holds the tokens' own dtype, and then nothing is scaled, or 8-bit floats.
void check_cache(const Operator& op, const char* argument, const TensorView& tokens,
                 const TensorView& cache) {
  if (converts(tokens, cache) && (!kFp8.contains(cache.dtype) || kFp8.contains(tokens.dtype)))
    reject(op, argument, "expected dtype {} (that of the tokens){}, got {}", name(tokens.dtype),
           kFp8.contains(tokens.dtype) ? "" : ", e4m3 or e5m2", describe(cache));
}
void check_scale(const Operator& op, const char* argument, const TensorView& tokens, const TensorView& cache,
                 float scale) {
  if (!converts(tokens, cache) && scale != 1)
    reject(op, argument, "expected 1, as the cache has the tokens' dtype, got {}", scale);
}

double bytes(const TensorView& view) { return static_cast<double>(view.bytes()); }

// Both rows of every token are read and written once; the flops are the scaling of converted ones.
Cost append_cost(const TensorView& a, const TensorView& b, const TensorView& cache,
                 const ops::Places& places) {
  const double elements = static_cast<double>(a.size() + b.size());
  return {.flops = converts(a, cache) ? elements : 0,
          .bytes = bytes(a) + bytes(b) + elements * static_cast<double>(size_of(cache.dtype)) +
                   bytes(places.batch_indices) + bytes(places.positions) + bytes(places.kv_indptr) +
                   bytes(places.kv_last_page_len)};
}

// Tokens [nnz, heads, dim] or [nnz, dim] on their way to pages of which `slot_axis` counts the tokens.
cpu::PagedRows rows_of(const TensorView& tokens, const TensorView& cache, int slot_axis, float scale) {
  const bool heads = tokens.rank == 3;
  const std::size_t dim_axis = heads ? 2 : 1, head_axis = slot_axis == 1 ? 2 : 1;
  cpu::PagedRows rows{.in = tokens.data,
                      .out = cache.data,
                      .heads = heads ? tokens.shape[1] : 1,
                      .dim = tokens.shape[dim_axis],
                      .in_token_stride = tokens.strides[0],
                      .in_head_stride = heads ? tokens.strides[1] : 0,
                      .page_stride = cache.strides[0],
                      .slot_stride = cache.strides[static_cast<std::size_t>(slot_axis)],
                      .head_stride = heads ? cache.strides[head_axis] : 0,
                      .in_dtype = tokens.dtype,
                      .out_dtype = cache.dtype,
                      .factor = 1 / scale};
  if (rows.in_head_stride == rows.dim && rows.head_stride == rows.dim) {  // one long row
    rows.dim *= rows.heads;
    rows.heads = 1;
  }
  return rows;
}

void append_cpu(const cpu::PagedRows& a, const cpu::PagedRows& b, const ops::Places& places,
                const Axes& axes) {
  const auto index = [](const TensorView& view) { return view.as<const std::int32_t>(); };
  const auto moved = [](const cpu::PagedRows& rows) {
    return rows.heads * rows.dim *
           static_cast<std::int64_t>(size_of(rows.in_dtype) + size_of(rows.out_dtype));
  };
  const std::int64_t bytes_each = moved(a) + moved(b);
  const cpu::PagedAppend append{.rows = {a, b},
                                .batch_indices = index(places.batch_indices),
                                .positions = index(places.positions),
                                .kv_indices = index(places.kv_indices),
                                .kv_indptr = index(places.kv_indptr),
                                .page_size = static_cast<std::int32_t>(axes[ops::kPageSize]),
                                .stream = cpu::writes_past_caches(axes[ops::kNnz] * bytes_each)};
  auto* kernel = *cpu::append_tokens;
  cpu::parallel_ranges(axes[ops::kNnz], bytes_each,
                       [&](std::int64_t begin, std::int64_t end) { kernel(append, begin, end); });
}

using KvArgs = AppendPagedKvCacheArgs;

const Operator& append_paged_kv_cache_operator() {
  static const Operator op = [] {
    auto declare = ops::declare_append<KvArgs>(
        "append_paged_kv_cache", "Writes the keys and values of new tokens into a paged cache.");
    declare
        .formula(
            "k_cache[page(t), slot(t)] = append_key[t] / k_scale; page(t) = kv_indices[kv_indptr[r] + p / "
            "page_size], "
            "slot(t) = p % page_size, r = batch_indices[t], p = positions[t]; v likewise")
        .source(
            "Kwon et al., Efficient Memory Management for Large Language Model Serving with PagedAttention, "
            "2023")
        .axis("num_kv_heads", 8, "KV heads")
        .axis("head_dim", 128, "elements of a key head")
        .axis("head_dim_vo", 128, "elements of a value head")
        .input<&KvArgs::append_key>("append_key", "nnz, num_kv_heads, head_dim", kFloatsAndFp8,
                                    "keys of the tokens")
        .input<&KvArgs::append_value>("append_value", "nnz, num_kv_heads, head_dim_vo", same_as("append_key"),
                                      "values of the tokens");
    ops::declare_tokens(declare);
    declare
        .inout<&KvArgs::k_cache>("k_cache", "num_pages, page_size, num_kv_heads, head_dim", kFloatsAndFp8,
                                 "pages of keys")
        .hnd("num_pages, num_kv_heads, page_size, head_dim")
        .inout<&KvArgs::v_cache>("v_cache", "num_pages, page_size, num_kv_heads, head_dim_vo",
                                 same_as("k_cache"), "pages of values")
        .hnd("num_pages, num_kv_heads, page_size, head_dim_vo");
    ops::declare_pages(declare);
    return declare.choice<&KvArgs::kv_layout>("kv_layout", {"NHD", "HND"}, "order of the cache's axes")
        .attribute<&KvArgs::k_scale>("k_scale", kSmallestScale, kLargestScale,
                                     "divides keys on their way to an 8-bit cache")
        .attribute<&KvArgs::v_scale>("v_scale", kSmallestScale, kLargestScale,
                                     "divides values on their way to an 8-bit cache")
        .rule("the cache has the dtype of append_key (and then scales are 1), or e4m3 or e5m2")
        .is_hnd([](const KvArgs& args) { return args.kv_layout == KvLayout::kHnd; })
        .check([](const Operator& self, const KvArgs& args, const Axes& axes, Phase) {
          check_cache(self, "k_cache", args.append_key, args.k_cache);
          check_scale(self, "k_scale", args.append_key, args.k_cache, args.k_scale);
          check_scale(self, "v_scale", args.append_value, args.v_cache, args.v_scale);
          ops::check_places(self, ops::places_of(args), axes);
        })
        .cost([](const KvArgs& args, const Axes&) {
          return append_cost(args.append_key, args.append_value, args.k_cache, ops::places_of(args));
        })
        .accuracy([](const KvArgs&, const Axes&, int) { return Accuracy{}; })
        .reference([](const KvArgs& args, const Axes&, op::Expected& expected) {
          reference::append_paged_kv_cache(args, expected);
        })
        .backend(Backend::kCpu,
                 [](const KvArgs& args, const Axes& axes, const Launch&) {
                   const int slot_axis = args.kv_layout == KvLayout::kHnd ? 2 : 1;
                   append_cpu(rows_of(args.append_key, args.k_cache, slot_axis, args.k_scale),
                              rows_of(args.append_value, args.v_cache, slot_axis, args.v_scale),
                              ops::places_of(args), axes);
                 })
        .backend(Backend::kCudaSm80,
                 [](const KvArgs& args, const Axes& axes, const Launch& launch) {
                   const int slot_axis = args.kv_layout == KvLayout::kHnd ? 2 : 1;
                   op::run_append_cuda({.tokens = args.append_key,
                                        .cache = args.k_cache,
                                        .slot_axis = slot_axis,
                                        .scale = args.k_scale},
                                       {.tokens = args.append_value,
                                        .cache = args.v_cache,
                                        .slot_axis = slot_axis,
                                        .scale = args.v_scale},
                                       ops::places_of(args), axes, launch);
                 })
        .build();
  }();
  return op;
}

using MlaArgs = AppendPagedMlaKvCacheArgs;

const Operator& append_paged_mla_kv_cache_operator() {
  static const Operator op = [] {
    auto declare = ops::declare_append<MlaArgs>("append_paged_mla_kv_cache",
                                                "Writes the latent KV of new tokens into a paged MLA cache.");
    declare
        .formula(
            "ckv_cache[page(t), slot(t)] = append_ckv[t] / ckv_scale; page(t) = kv_indices[kv_indptr[r] + p "
            "/ page_size], "
            "slot(t) = p % page_size, r = batch_indices[t], p = positions[t]; kpe likewise")
        .source("DeepSeek-AI, DeepSeek-V2, 2024")
        .axis("ckv_dim", 512, "elements of the compressed KV")
        .axis("kpe_dim", 64, "elements of the key part with RoPE")
        .input<&MlaArgs::append_ckv>("append_ckv", "nnz, ckv_dim", kFloatsAndFp8,
                                     "compressed KV of the tokens")
        .input<&MlaArgs::append_kpe>("append_kpe", "nnz, kpe_dim", same_as("append_ckv"),
                                     "key parts with RoPE of the tokens");
    ops::declare_tokens(declare);
    declare
        .inout<&MlaArgs::ckv_cache>("ckv_cache", "num_pages, page_size, ckv_dim", kFloatsAndFp8,
                                    "pages of compressed KV")
        .inout<&MlaArgs::kpe_cache>("kpe_cache", "num_pages, page_size, kpe_dim", same_as("ckv_cache"),
                                    "pages of key parts");
    ops::declare_pages(declare);
    return declare
        .attribute<&MlaArgs::ckv_scale>("ckv_scale", kSmallestScale, kLargestScale,
                                        "divides compressed KV on its way to an 8-bit cache")
        .attribute<&MlaArgs::kpe_scale>("kpe_scale", kSmallestScale, kLargestScale,
                                        "divides key parts on their way to an 8-bit cache")
        .rule("the cache has the dtype of append_ckv (and then scales are 1), or e4m3 or e5m2")
        .check([](const Operator& self, const MlaArgs& args, const Axes& axes, Phase) {
          check_cache(self, "ckv_cache", args.append_ckv, args.ckv_cache);
          check_scale(self, "ckv_scale", args.append_ckv, args.ckv_cache, args.ckv_scale);
          check_scale(self, "kpe_scale", args.append_kpe, args.kpe_cache, args.kpe_scale);
          ops::check_places(self, ops::places_of(args), axes);
        })
        .cost([](const MlaArgs& args, const Axes&) {
          return append_cost(args.append_ckv, args.append_kpe, args.ckv_cache, ops::places_of(args));
        })
        .accuracy([](const MlaArgs&, const Axes&, int) { return Accuracy{}; })
        .reference([](const MlaArgs& args, const Axes&, op::Expected& expected) {
          reference::append_paged_mla_kv_cache(args, expected);
        })
        .backend(Backend::kCpu,
                 [](const MlaArgs& args, const Axes& axes, const Launch&) {
                   append_cpu(rows_of(args.append_ckv, args.ckv_cache, 1, args.ckv_scale),
                              rows_of(args.append_kpe, args.kpe_cache, 1, args.kpe_scale),
                              ops::places_of(args), axes);
                 })
        .backend(Backend::kCudaSm80,
                 [](const MlaArgs& args, const Axes& axes, const Launch& launch) {
                   op::run_append_cuda(
                       {.tokens = args.append_ckv, .cache = args.ckv_cache, .scale = args.ckv_scale},
                       {.tokens = args.append_kpe, .cache = args.kpe_cache, .scale = args.kpe_scale},
                       ops::places_of(args), axes, launch);
                 })
        .build();
  }();
  return op;
}

}  // namespace

void append_paged_kv_cache(const AppendPagedKvCacheArgs& args, const Launch& launch) {
  op::call(append_paged_kv_cache_operator(), args, launch);
}
void append_paged_mla_kv_cache(const AppendPagedMlaKvCacheArgs& args, const Launch& launch) {
  op::call(append_paged_mla_kv_cache_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_page(Registry& registry) {
  registry.add(append_paged_kv_cache_operator());
  registry.add(append_paged_mla_kv_cache_operator());
}

}  // namespace strobe::op
