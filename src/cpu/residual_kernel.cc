#include "cpu/residual_kernel.h"

#include "cpu/sampling_row.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// What a lane's token has left: the difference of two weights, where the target's value is the larger one.
struct Left {
  U32 high, low;
  Lanes lanes;

  uint64_t of_lane(int lane) const {
    const auto whole = static_cast<int64_t>(static_cast<int32_t>(high[lane])) * (1 << 20) +
                       static_cast<int64_t>(static_cast<int32_t>(low[lane]));
    return has(lanes, lane) ? static_cast<uint64_t>(whole) : 0;
  }
};

template <class T>
struct Residual {
  const T *target, *draft;
  int64_t size;

  // Calls f(left, at) for the vectors of [begin, end); returns how many values of them are good.
  template <class F>
  __attribute__((always_inline)) uint64_t for_each(int64_t begin, int64_t end, F f) const {
    LaneCount good;
    const auto is_good = [](F32 x, Lanes of) __attribute__((always_inline)) {
      return at_least(splat(kernel::kLargestProbability), x, at_least(x, F32{}, of));
    };
    const auto both = [&](F32 x, F32 y, Lanes present, int64_t at) __attribute__((always_inline)) {
      const Lanes fine = is_good(y, is_good(x, present));
      good.add(fine);
      const Weights wanted = weights_of(x), drafted = weights_of(y);
      f(Left{wanted.high - drafted.high, wanted.low - drafted.low, below(y, x, fine)}, at);
    };
    for (int64_t i = begin; i < end; i += kLanes) {
      const int n = static_cast<int>(end - i < kLanes ? end - i : kLanes);
      if (n == kLanes)
        both(load(target + i), draft != nullptr ? load(draft + i) : F32{}, all_lanes(), i);
      else
        both(load_n(target + i, n), draft != nullptr ? load_n(draft + i, n) : F32{}, lanes_before(n), i);
    }
    return good.total();
  }

  int64_t end_of(int64_t begin) const { return begin + kBlock < size ? begin + kBlock : size; }

  // What is left of each block, and of all of them; -1 when a value is bad.
  int64_t weigh(uint64_t* blocks) const {
    int64_t all = 0;
    uint64_t good = 0;
    for (int64_t begin = 0; begin < size; begin += kBlock) {
      U32 high = {}, low = {};
      good += for_each(
          begin, end_of(begin), [&](const Left& left, int64_t) __attribute__((always_inline)) {
            high = add_in(left.lanes, high, left.high);
            low = add_in(left.lanes, low, left.low);
          });
      int64_t block = 0;
      for (int lane = 0; lane < kLanes; ++lane)
        block += static_cast<int64_t>(static_cast<int32_t>(high[lane])) * (1 << 20) +
                 static_cast<int64_t>(static_cast<int32_t>(low[lane]));
      blocks[begin / kBlock] = static_cast<uint64_t>(block);
      all += block;
    }
    return good == static_cast<uint64_t>(size) ? all : -1;
  }

  uint64_t weight(int64_t token) const {
    uint64_t weight = 0;
    for_each(token, token + 1, [&](const Left& left, int64_t) { weight = left.of_lane(0); });
    return weight;
  }
};

template <class T>
int64_t draw(const ResidualRow& row, bool everything) {
  const Residual<T> residual{static_cast<const T*>(row.target),
                             everything ? nullptr : static_cast<const T*>(row.draft), row.vocab_size};
  const int64_t refused = everything ? 0 : row.refused_count;
  constexpr int64_t kMostBlocks = (int64_t{1} << 22) / kBlock;
  uint64_t blocks[kMostBlocks];
  const int64_t whole = residual.weigh(blocks);
  if (whole < 0) return -1;
  auto all = static_cast<uint64_t>(whole);
  const auto is_refused = [&](int64_t token) {
    for (int64_t i = 0; i < refused; ++i)
      if (row.refused[i] == token) return true;
    return false;
  };
  for (int64_t i = 0; i < refused; ++i) {
    bool again = false;
    for (int64_t j = 0; j < i; ++j) again |= row.refused[j] == row.refused[i];
    const uint64_t weight = again ? 0 : residual.weight(row.refused[i]);
    blocks[row.refused[i] / kBlock] -= weight;
    all -= weight;
  }
  if (all == 0) return everything ? -1 : draw<T>(row, true);
  auto target = static_cast<uint64_t>((static_cast<unsigned __int128>(row.random) * all) >> 64);
  int64_t block = 0, token = -1;
  for (; target >= blocks[block]; ++block) target -= blocks[block];
  const int64_t begin = block * kBlock;
  residual.for_each(begin, residual.end_of(begin), [&](const Left& left, int64_t at) {
    for (int lane = 0; lane < kLanes && token < 0; ++lane) {
      const uint64_t weight = left.of_lane(lane);
      if (weight == 0 || is_refused(at + lane)) continue;
      if (target < weight)
        token = at + lane;
      else
        target -= weight;
    }
  });
  return token;
}

}  // namespace

int64_t draw_residual(const ResidualRow& row) {
  switch (row.dtype) {
    case Dtype::kF32:
      return draw<float>(row, false);
    case Dtype::kF16:
      return draw<f16_t>(row, false);
    case Dtype::kBf16:
      return draw<bf16_t>(row, false);
    default:
      return -1;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
