// What a routine does, as pictures tell it apart: by colour (a class of page.css) and by shape.
#pragma once

#include <string_view>

namespace strobe::bench::report {

enum class Shape { kCircle, kSquare, kTriangle, kDiamond, kDown, kCross, kPlus, kRing };

struct Kind {
  std::string_view label;
  std::string_view css;
  Shape shape;
};

const Kind& kind_of(std::string_view routine);

}  // namespace strobe::bench::report
