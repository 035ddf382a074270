// Attention of one work item: flash attention with an online softmax in base 2, the query heads of a group
// folded into rows.
//
// - few rows (direct.h): for each 64 tokens, all KV heads of the item: scores by row dots, softmax, output;
//   K and V are read in place, once.
// - many rows (tiled.h): for each 128 tokens: pack K and V; for each 24 rows: scores, softmax, output.
//
// Both paths exist per engine (engine.h: f32, or bf16 dot products) and per KV element type. The register
// tile is 6 rows x 4 vectors (2 with 16 registers). At D128 in bf16 a packed KV tile takes 64 KiB and O 0.5
// KiB a row (second-level cache); a group's queries, scores, probabilities and one panel of K or V take 40
// KiB (first-level cache).
//
// Floor of prefill at D128 (AVX512-BF16, 64 multiply-adds a cycle): 4 cycles for each score; exp2 and the
// sums add about 0.6, the tile's loads and stores 0.3, packing 0.1. Floor of decode: the bytes of K and V;
// the arithmetic takes half of that time.
//
// What was measured while it was written (Zen 5, 32/8 heads, D128, bf16 unless said).
//
// Prefill 1024 causal, share of the limit of the same run:
// - rows of the packed tile as wide as the tile: avx2 0.25, as they fall into a few sets of the L1;
// - panels of one register tile's width: avx2 0.75, f32 on avx512 0.73, bf16 0.62-0.66;
// - 24 rows at a time instead of 48: bf16 0.69-0.72;
// - cold Q and O: queries read and outputs written group by group beside the first and the last tile, not
//   all at once, 13.0 to 11.7 ms (reading the queries had taken 9 % of the time, 80 ns a row).
//
// Decode 16 x 4096, pages of 64, 2 threads, where a linear read of as much takes 3.1-3.4 ms:
// - one head after another, 40 rows fetched ahead: HND 5.9 ms, NHD 9.2 ms, pages of one token 12.5 ms;
// - all heads together, in the order of addresses: HND 5.1, NHD 6.4;
// - a square of 4 rows x 4 tokens in registers instead of one token at a time: HND 4.4, NHD 4.8;
// - the lines of a row fetched by four instructions instead of one in a loop: HND 4.8 instead of 4.1;
// - fetched in bursts of 8 rows instead of 2: HND 5.4;
// - avx2, bf16 widened as even and odd elements instead of by vpmovzxwd: 9.4 to 6.6;
// - e4m3 to bf16 by table and not through f32: 8.6 to 3.0 (a linear read: 1.6).
#include "cpu/attention/attention_kernel.h"

#include "cpu/attention/careful.h"
#include "cpu/attention/direct.h"
#include "cpu/attention/tiled.h"
#include "cpu/simd_copy.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// RoPE on the fly stays in f32: rotated values rounded to bf16 again would cost more accuracy than the rest
// of the kernel.
bool is_bf16_dot(const AttentionProblem& p) {
#if defined(STROBE_BF16_ENGINE)
  return p.q_dtype == Dtype::kBf16 && p.rope_inv_freq == nullptr &&
         (p.kv_dtype == Dtype::kBf16 || p.kv_dtype == Dtype::kE4m3 || p.kv_dtype == Dtype::kE5m2);
#else
  (void)p;
  return false;
#endif
}

int words_of_q(const AttentionProblem& p) {
  return round_up(p.head_dim_qk / (is_bf16_dot(p) ? 2 : 1), kLanes);
}
int words_of_o(const AttentionProblem& p) {
  return round_up(p.head_dim_vo, is_bf16_dot(p) ? 2 * kLanes : kLanes);
}

// Hands out consecutive 64-byte aligned arrays; with a null base it only counts.
struct Arena {
  char* base;
  size_t used = 0;
  template <class T>
  void take(T** array, size_t count) {
    *array = base == nullptr ? nullptr : reinterpret_cast<T*>(base + used);
    used += (count * sizeof(uint32_t) + 63) / 64 * 64;
  }
};

// The softmax works on kLanes rows from any group's first one.
int padded_rows(int rows) { return round_up(rows, kLanes) + kLanes; }

size_t lay_out_scratch(const AttentionProblem& p, int rows, void* memory, Scratch* scratch) {
  Arena arena{static_cast<char*>(memory)};
  const size_t q_words = static_cast<size_t>(words_of_q(p)), o_words = static_cast<size_t>(words_of_o(p));
  const size_t padded = static_cast<size_t>(padded_rows(rows));
  const size_t per_word = is_bf16_dot(p) ? 2 : 1;
  arena.take(&scratch->q, padded * q_words);
  arena.take(&scratch->o, padded * o_words);
  arena.take(&scratch->m, padded);
  arena.take(&scratch->l, padded);
  scratch->stored_sum = scratch->l;
  if (is_bf16_dot(p)) arena.take(&scratch->stored_sum, padded);
  arena.take(&scratch->factor, padded);
  arena.take(&scratch->lo, padded);
  arena.take(&scratch->hi, padded);
  const size_t group_rows = static_cast<size_t>(smaller(rows, kGroupRows));
  arena.take(&scratch->s, group_rows * kTiledTokens);
  arena.take(&scratch->p, group_rows * kTiledTokens / per_word);
  arena.take(&scratch->k, rows > kDirectRows ? q_words * kTiledTokens : 0);
  arena.take(&scratch->v, rows > kDirectRows ? kTiledTokens / per_word *
                                                   static_cast<size_t>(round_up(words_of_o(p), kTileColumns))
                                             : 0);
  uint32_t* rotated = nullptr;
  arena.take(&rotated, p.rope_inv_freq != nullptr ? kTiledTokens * q_words : 0);
  scratch->rotated = rotated;
  return arena.used;
}

// Returns the bytes of scratch that the item takes.
size_t make_item(const AttentionProblem& p, const AttentionItem& item, int kv_head, void* scratch,
                 Item* made) {
  Item& it = *made;
  it = {};
  it.problem = &p;
  it.item = &item;
  it.kv_head = kv_head;
  it.group = p.num_qo_heads / p.num_kv_heads;
  it.rows = (item.q_end - item.q_begin) * it.group;
  it.qo_len = p.qo_indptr[item.request + 1] - p.qo_indptr[item.request];
  it.kv_len = p.kv_len[item.request];
  it.q_offset = it.kv_len - it.qo_len;
  it.q_stride = words_of_q(p);
  it.o_stride = words_of_o(p);
  it.transforms = p.alibi_slopes != nullptr || p.logits_soft_cap > 0;
  it.scale = it.transforms ? p.sm_scale : p.sm_scale * kLog2E;
  return lay_out_scratch(p, it.rows, scratch, &it.scratch);
}

void start_rows(Item* it) {
  const Scratch& scratch = it->scratch;
  for (int row = 0; row < it->rows; ++row)
    attended_range(*it->problem, *it->item, it->kv_len, it->q_pos(row), &scratch.lo[row], &scratch.hi[row]);
  it->kv_begin = scratch.lo[0];
  it->kv_end = scratch.hi[it->rows - 1];
  for (int row = 0; row < padded_rows(it->rows); row += kLanes) {
    store(scratch.m + row, splat(-kInfinity));
    store(scratch.l + row, F32{});
    store(scratch.stored_sum + row, F32{});
  }
  for (int i = 0; i < it->rows * it->o_stride; i += kLanes) store(scratch.o + i, F32{});
}

template <class Q>
const Q* query_row(const Item& it, int row) {
  const AttentionProblem& p = *it.problem;
  const int64_t token = p.qo_indptr[it.item->request] + it.token(row);
  return static_cast<const Q*>(p.q) + token * p.q_stride_token + it.head(row) * p.q_stride_head;
}

// Query rows [first, end) as engine elements, rotated if the run wants RoPE.
template <class Engine, class Q>
void load_queries(const Item& it, int first, int end) {
  const AttentionProblem& p = *it.problem;
  float values[kMaxHeadDim + kLanes] = {};
  Rotation rotation;
  for (int row = first; row < end; ++row) {
    widen_row(query_row<Q>(it, row), p.head_dim_qk, values);
    if constexpr (sizeof(Q) == 1) scale_row(values, p.head_dim_qk, query_scale(it, row));
    if (p.rope_inv_freq != nullptr) {
      if (row == first || row % it.group == 0) start_rotation(p, it.q_pos(row), &rotation);
      rotate_row(p, rotation, values);
    }
    uint32_t* words = it.scratch.q + row * it.q_stride;
    auto* elements = reinterpret_cast<typename Engine::Element*>(words);
    for (int c = 0; c < it.q_stride * Engine::kPerWord; c += kLanes)
      Engine::store_elements(elements + c, c < p.head_dim_qk ? load(values + c) : F32{});
  }
}

template <class Q, class T>
void finish_rows(const Item& it, int first, int end) {
  const Scratch& scratch = it.scratch;
  for (int row = first; row < end; ++row) {
    const RowState state = {scratch.m[row], scratch.l[row], scratch.stored_sum[row]};
    if (!finish_row(it, row, scratch.o + row * it.o_stride, state)) redo_row<Q, T>(it, row);
  }
}

// Items of the same rows for `heads` KV heads; several only if they take the direct path.
template <class Engine, class Q, class T>
void run_items(Item* items, int heads) {
  const Item& it = items[0];
  for (int h = 0; h < heads; ++h) start_rows(&items[h]);
  if (it.rows > kDirectRows) {
    const int bytes = it.problem->head_dim_qk * static_cast<int>(sizeof(Q));
    run_tiled<Engine, T>(
        it,
        [&](int first, int end) {
          load_queries<Engine, Q>(it, first, end);
          for (int row = end; row < smaller(end + kGroupRows, it.rows); ++row)
            prefetch_bytes(query_row<Q>(it, row), bytes);
        },
        [&](int first, int end) {
          finish_rows<Q, T>(it, first, end);
          for (int row = end; row < smaller(end + kGroupRows, it.rows); ++row) prefetch_output(it, row);
        });
    return;
  }
  for (int h = 0; h < heads; ++h) load_queries<Engine, Q>(items[h], 0, it.rows);
  run_direct<Engine, T>(items, heads);
  for (int h = 0; h < heads; ++h) finish_rows<Q, T>(items[h], 0, it.rows);
}

// Q and KV in e4m3, computed in f32.
void run_e4m3(Item* items, int heads) { run_items<F32Engine, e4m3_t, e4m3_t>(items, heads); }

template <class Q>
void run_f32(Item* items, int heads) {
  switch (items[0].problem->kv_dtype) {
    case Dtype::kF32:
      return run_items<F32Engine, Q, float>(items, heads);
    case Dtype::kF16:
      return run_items<F32Engine, Q, f16_t>(items, heads);
    case Dtype::kBf16:
      return run_items<F32Engine, Q, bf16_t>(items, heads);
    case Dtype::kE4m3:
      return run_items<F32Engine, Q, e4m3_t>(items, heads);
    default:
      return run_items<F32Engine, Q, e5m2_t>(items, heads);
  }
}

void run_bf16_dot([[maybe_unused]] Item* items, [[maybe_unused]] int heads) {
#if defined(STROBE_BF16_ENGINE)
  switch (items[0].problem->kv_dtype) {
    case Dtype::kE4m3:
      return run_items<Bf16Engine, bf16_t, e4m3_t>(items, heads);
    case Dtype::kE5m2:
      return run_items<Bf16Engine, bf16_t, e5m2_t>(items, heads);
    default:
      return run_items<Bf16Engine, bf16_t, bf16_t>(items, heads);
  }
#endif
}

void run_heads(Item* items, int heads) {
  const AttentionProblem& problem = *items[0].problem;
  if (is_bf16_dot(problem)) return run_bf16_dot(items, heads);
  switch (problem.q_dtype) {
    case Dtype::kF32:
      return run_f32<float>(items, heads);
    case Dtype::kF16:
      return run_f32<f16_t>(items, heads);
    case Dtype::kE4m3:
      return run_e4m3(items, heads);
    default:
      return run_f32<bf16_t>(items, heads);
  }
}

}  // namespace

size_t attention_scratch_bytes(const AttentionProblem& problem, int max_rows) {
  Scratch scratch;
  const size_t few_rows = lay_out_scratch(problem, kDirectRows, nullptr, &scratch) *
                          static_cast<size_t>(smaller(problem.num_kv_heads, kMaxHeadsTogether));
  const size_t many_rows = lay_out_scratch(problem, max_rows, nullptr, &scratch);
  return few_rows > many_rows ? few_rows : many_rows;
}

void attention_item(const AttentionProblem& problem, const AttentionItem& item, int kv_head_begin,
                    int kv_head_end, void* scratch) {
  const int rows = (item.q_end - item.q_begin) * (problem.num_qo_heads / problem.num_kv_heads);
  if (rows <= 0) return;
  Item items[kMaxHeadsTogether];
  const int together = rows <= kDirectRows ? kMaxHeadsTogether : 1;
  for (int first = kv_head_begin; first < kv_head_end; first += together) {
    const int heads = smaller(together, kv_head_end - first);
    char* memory = static_cast<char*>(scratch);
    for (int h = 0; h < heads; ++h) memory += make_item(problem, item, first + h, memory, &items[h]);
    run_heads(items, heads);
  }
}

void attention_merge(const AttentionProblem& problem, const AttentionItem* parts, int count, int kv_head,
                     void* scratch) {
  Item it;
  make_item(problem, parts[0], kv_head, scratch, &it);
  for (int row = 0; row < it.rows; ++row) merge_row(it, parts, count, row);
}

}  // namespace strobe::cpu::STROBE_ISA
