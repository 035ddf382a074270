// The machine's limits in the seconds around a row. On machines with neighbours, memory bandwidth changes
// within one run by more than a factor of two; a row is held against what the machine could do just then.
#pragma once

#include "bench/limits.h"
#include "strobe/tensor.h"

namespace strobe::bench {

class LimitProbe {
 public:
  // Takes memory of 8 last-level caches.
  LimitProbe();

  // The best of a few short passes for each rate of LimitRates: on the executor's threads, memory by the best
  // level of this machine, compute by the active one. Takes some 50 ms.
  LimitRates measure() const;

 private:
  double read_rate(int threads) const;
  double copy_rate(int threads) const;

  Tensor memory_;
};

}  // namespace strobe::bench
