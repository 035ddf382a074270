#include "cpu/sampling_kernel.h"

#include "cpu/sampling_select.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// Those of the lanes that hold good tokens.
template <class T, bool kLogits>
STROBE_INLINE Lanes good_lanes(const TokenRow<T, kLogits>&, F32 x, Lanes present) {
  if constexpr (kLogits)
    return below(x, splat(from_bits(0x7f800000u)), present);
  else
    return at_least(splat(kernel::kLargestProbability), x, at_least(x, F32{}, present));
}

// The largest value, and whether any token is bad.
template <class T, bool kLogits>
bool survey(const TokenRow<T, kLogits>& row, float& largest) {
  F32 most = splat(-from_bits(0x7f800000u));
  LaneCount good;
  row.for_each(
      0, row.size, [&](F32 x, Lanes present) __attribute__((always_inline)) {
        good.add(good_lanes(row, x, present));
        most = max(select(present, x, most), most);
      });
  largest = reduce_max(most);
  return good.total() != static_cast<uint64_t>(row.size);
}

// What the filters keep. When top_p's last pass over the row has found exactly those above a threshold and
// those in the list, `blocks` says so.
template <class Row>
Kept filter(const SamplingRow& call, const Row& row, float* lists, Blocks& blocks) {
  const float lowest = Row::from_key(Row::kFirstKey);
  Kept kept{.threshold = lowest};
  const Kept everything = kept;
  if (call.min_p > 0) {
    const float least = Row::kIsLogits ? call.min_p : call.min_p * row.largest;
    (Row::kIsLogits ? kept.least : kept.threshold) = least;
  }
  const auto keep_from = [&](float threshold) {
    if (threshold > kept.threshold) kept.threshold = threshold;
  };
  if (call.top_k > 0) {
    const auto wanted = static_cast<uint64_t>(call.top_k);
    const float share = static_cast<float>(call.top_k) / static_cast<float>(row.size);
    keep_from(threshold_of<false>(row, call.joint ? everything : kept, share, lists, nullptr,
                                  [=](uint64_t) { return wanted; }));
  }
  if (call.top_p < 1) {
    const bool decides = !call.joint || (call.top_k == 0 && call.min_p == 0);
    keep_from(threshold_of<true>(row, call.joint ? everything : kept, call.top_p, lists,
                                 decides ? &blocks : nullptr, [&](uint64_t all) {
                                   const double least =
                                       static_cast<double>(call.top_p) * static_cast<double>(all);
                                   const auto whole = static_cast<uint64_t>(least);
                                   const uint64_t up = whole + (static_cast<double>(whole) < least ? 1 : 0);
                                   return up == 0 ? 1 : up > all ? all : up;
                                 }));
  }
  return kept;
}

// Adds the kept weights of the list to those of `blocks`, and up.
template <class Row>
uint64_t weigh_list(const Row& row, const Kept& kept, const float* list, Blocks& blocks) {
  uint64_t all = 0;
  int64_t begin = 0;
  for (int64_t block = 0; block * kBlock < row.size; ++block) {
    const int64_t end = blocks.collected[block];
    WeightSum sum;
    typename Row::List{list, end, row.largest, row.factor}.for_each(
        begin, end, [&](F32 x, Lanes present) __attribute__((always_inline)) {
          sum.add(weights_of(row.value(x)), at_least(x, splat(kept.threshold), present));
        });
    all += blocks.weights[block] += sum.total();
    begin = end;
  }
  return all;
}

// Adds up the kept weights, 0 of a bad row; `blocks` gets those of kBlock tokens each.
template <class Row>
uint64_t weigh(const Row row, const Kept kept, uint64_t* blocks) {
  uint64_t all = 0;
  LaneCount good;
  for (int64_t begin = 0; begin < row.size; begin += kBlock) {
    WeightSum sum;
    row.for_each(
        begin, begin + kBlock < row.size ? begin + kBlock : row.size,
        [&](F32 x, Lanes present) __attribute__((always_inline)) {
          good.add(good_lanes(row, x, present));
          sum.add(weights_of(row.value(x)), kept.among(row, x, present));
        });
    const uint64_t block = sum.total();
    blocks[begin / kBlock] = block;
    all += block;
  }
  return good.total() != static_cast<uint64_t>(row.size) ? 0 : all;
}

// floor(random / 2^64 * range).
uint64_t scaled_to(uint64_t random, uint64_t range) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(random) * range) >> 64);
}

// The token at `target` of the running sum of the kept weights.
template <class Row>
int64_t token_at(const Row& row, const Kept& kept, const uint64_t* blocks, uint64_t target) {
  int64_t block = 0;
  for (; target >= blocks[block]; ++block) target -= blocks[block];
  const int64_t begin = block * kBlock, end = begin + kBlock < row.size ? begin + kBlock : row.size;
  int64_t token = -1, first = begin;
  row.for_each(
      begin, end, [&](F32 x, Lanes present) __attribute__((always_inline)) {
        if (token < 0) {
          const Weights w = weights_of(row.value(x));
          const Lanes counted = kept.among(row, x, present);
          for (int lane = 0; lane < kLanes && token < 0; ++lane) {
            const uint64_t weight = has(counted, lane) ? weight_of_lane(w, lane) : 0;
            if (target < weight)
              token = first + lane;
            else
              target -= weight;
          }
        }
        first += kLanes;
      });
  return token;
}

// Writes f(x) for the row's values.
template <class Out, class Row, class F>
void write(const Row& row, void* out, F f) {
  Out* y = static_cast<Out*>(out);
  int64_t i = 0;
  for (; i + kLanes <= row.size; i += kLanes) store(y + i, f(load(row.x + i)));
  if (i < row.size) {
    const int lanes = static_cast<int>(row.size - i);
    store_n(y + i, f(load_n(row.x + i, lanes)), lanes);
  }
}

// Probabilities of logits are f32.
template <class T, bool kLogits>
struct OutputOf {
  typedef T Type;
};
template <class T>
struct OutputOf<T, true> {
  typedef float Type;
};

template <class T, bool kLogits>
int64_t run(const SamplingRow& call) {
  TokenRow<T, kLogits> row{static_cast<const T*>(call.input), call.vocab_size, 0, call.factor};
  bool bad = kLogits && call.factor != call.factor;
  if (kLogits || call.min_p > 0) bad |= survey(row, row.largest);
  Kept kept{.threshold = row.from_key(row.kFirstKey)};
  float lists[2 * kListRoom];
  Blocks blocks;
  if (!bad && (call.top_k > 0 || call.top_p < 1 || call.min_p > 0)) kept = filter(call, row, lists, blocks);
  if (call.mask) {
    const float nothing = -from_bits(0x7f800000u);
    write<T>(row, call.out,
             [&](F32 x) { return bad ? x : select(kept.among(row, x, all_lanes()), x, splat(nothing)); });
    return 0;
  }
  uint64_t all = 0;
  if (!bad) all = blocks.in_list ? weigh_list(row, kept, lists, blocks) : weigh(row, kept, blocks.weights);
  bad |= all == 0;
  if (call.out == nullptr) return bad ? -1 : token_at(row, kept, blocks.weights, scaled_to(call.random, all));
  const float scale = bad ? from_bits(0x7fc00000u) : kernel::kUnitWeight / static_cast<float>(all);
  write<typename OutputOf<T, kLogits>::Type>(row, call.out, [&](F32 x) {
    return bad ? splat(scale) : select(kept.among(row, x, all_lanes()), row.value(x) * scale, F32{});
  });
  return 0;
}

template <class T>
int64_t run_of(const SamplingRow& call) {
  return call.logits ? run<T, true>(call) : run<T, false>(call);
}

}  // namespace

int64_t sample_row(const SamplingRow& call) {
  switch (call.dtype) {
    case Dtype::kF32:
      return run_of<float>(call);
    case Dtype::kF16:
      return run_of<f16_t>(call);
    case Dtype::kBf16:
      return run_of<bf16_t>(call);
    default:
      return -1;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
