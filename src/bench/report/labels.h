// Places texts so that none covers another, a point or a line.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "bench/report/svg.h"

namespace strobe::bench::report {

struct Box {
  double left, top, right, bottom;
  bool overlaps(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

class LabelPlacer {
 public:
  // Labels stay within `area`.
  LabelPlacer(Box area, double font_size) : area_(area), font_size_(font_size) {}

  void keep_clear(const Box& box) { taken_.push_back(box); }
  void keep_clear(Point a, Point b);  // a line
  bool is_free(const Box& box) const;

  struct Place {
    Point baseline;
    Anchor anchor;
  };
  // A free place for the text of a point: right, left, above, below, then a little farther off; nothing when
  // all are taken.
  std::optional<Place> place(Point point, double radius, std::string_view text);

 private:
  Box area_;
  double font_size_;
  std::vector<Box> taken_;
};

// Moves the centres of labels in a column apart, so that those of `heights` do not overlap and stay within
// [top, bottom], each as near as may be to where it was. In and out in the order given.
std::vector<double> spread(const std::vector<double>& centres, const std::vector<double>& heights, double top,
                           double bottom);

}  // namespace strobe::bench::report
