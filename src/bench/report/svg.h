// Inline SVG. Colours come from page.css by class, so that a picture follows the theme.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/report/kind.h"

namespace strobe::bench::report {

struct Point {
  double x = 0, y = 0;
};

enum class Anchor { kStart, kMiddle, kEnd };

// Width in pixels that `text` takes at most at a font size, for placing it.
double text_width(std::string_view text, double font_size);

class Svg {
 public:
  // `title` and `description` are what a screen reader says of the whole picture.
  Svg(double width, double height, std::string_view title, std::string_view description);

  void line(Point a, Point b, std::string_view css);
  void polyline(const std::vector<Point>& points, std::string_view css);
  void polygon(const std::vector<Point>& points, std::string_view css);
  void rect(Point corner, double width, double height, std::string_view css, std::string_view tip = {});
  // `angle` in degrees, clockwise, about `at`.
  void text(Point at, std::string_view text, std::string_view css, Anchor anchor = Anchor::kStart,
            double angle = 0);
  // A point; `tip` appears under the pointer.
  void marker(Shape shape, Point at, double radius, std::string_view css, std::string_view tip = {});

  std::string str() const { return text_ + "</svg>"; }

 private:
  std::string text_;
};

// A marker in running text.
std::string inline_marker(const Kind& kind);

}  // namespace strobe::bench::report
