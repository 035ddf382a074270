#include "bench/report/kind.h"

namespace strobe::bench::report {

const Kind& kind_of(std::string_view routine) {
  struct Word {
    std::string_view part;
    Kind kind;
  };
  static constexpr Word kWords[] = {
      {"decode", {"decode", "k1", Shape::kCircle}},
      {"prefill", {"prefill", "k2", Shape::kSquare}},
      {"mixed", {"mixed batch", "k3", Shape::kDiamond}},
      {"norm", {"norm", "k4", Shape::kTriangle}},
      {"rope", {"RoPE", "k5", Shape::kDown}},
      {"append", {"cache append", "k6", Shape::kCross}},
      {"_and_mul", {"activation", "k7", Shape::kPlus}},
  };
  static constexpr Kind kOther = {"other", "k8", Shape::kRing};
  for (const Word& word : kWords)
    if (routine.find(word.part) != std::string_view::npos) return word.kind;
  return kOther;
}

}  // namespace strobe::bench::report
