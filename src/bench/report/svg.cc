#include "bench/report/svg.h"

#include <fmt/format.h>

#include "bench/report/html.h"

namespace strobe::bench::report {
namespace {

std::string tip_element(std::string_view tip) {
  return tip.empty() ? std::string() : element("title", "", escaped(tip));
}

std::string path_of(const std::vector<Point>& points) {
  std::string path;
  for (const Point& p : points) path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", p.x, p.y);
  return path;
}

// All shapes cover about the same area.
std::string shape_path(Shape shape, Point c, double r) {
  const double s = 0.886 * r, t = 1.2 * r, w = 0.36 * r;
  const auto closed = [](const std::vector<Point>& points) { return path_of(points) + "Z"; };
  switch (shape) {
    case Shape::kSquare:
      return closed({{c.x - s, c.y - s}, {c.x + s, c.y - s}, {c.x + s, c.y + s}, {c.x - s, c.y + s}});
    case Shape::kTriangle:
      return closed({{c.x, c.y - t}, {c.x + 1.1 * t, c.y + 0.8 * t}, {c.x - 1.1 * t, c.y + 0.8 * t}});
    case Shape::kDown:
      return closed({{c.x, c.y + t}, {c.x + 1.1 * t, c.y - 0.8 * t}, {c.x - 1.1 * t, c.y - 0.8 * t}});
    case Shape::kDiamond:
      return closed({{c.x, c.y - 1.3 * r}, {c.x + 1.3 * r, c.y}, {c.x, c.y + 1.3 * r}, {c.x - 1.3 * r, c.y}});
    case Shape::kPlus:
    case Shape::kCross: {
      const double a = 1.25 * r;
      std::vector<Point> points = {{w, -a}, {w, -w}, {a, -w}, {a, w},   {w, w},   {w, a},
                                   {-w, a}, {-w, w}, {-a, w}, {-a, -w}, {-w, -w}, {-w, -a}};
      for (Point& p : points) {
        if (shape == Shape::kCross) p = {(p.x - p.y) * 0.7071, (p.x + p.y) * 0.7071};
        p = {p.x + c.x, p.y + c.y};
      }
      return closed(points);
    }
    case Shape::kCircle:
    case Shape::kRing:
      break;
  }
  return fmt::format("M{:.1f} {:.1f}a{:.1f} {:.1f} 0 1 0 {:.1f} 0a{:.1f} {:.1f} 0 1 0 {:.1f} 0Z", c.x - r,
                     c.y, r, r, 2 * r, r, r, -2 * r);
}

}  // namespace

double text_width(std::string_view text, double font_size) {
  double units = 0;
  for (char c : text) {
    if ((static_cast<unsigned char>(c) & 0xc0) == 0x80) continue;  // inside a character
    units += c == ' ' || c == '.' || c == ',' || c == 'i' || c == 'l' ? 0.33
             : c == 'm' || c == 'M'                                   ? 0.9
                                                                      : 0.6;
  }
  return units * font_size;
}

Svg::Svg(double width, double height, std::string_view title, std::string_view description)
    : text_(fmt::format("<svg class=\"chart w{:.0f}\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\">", width,
                        width, height)) {
  text_ += tip_element(title) + element("desc", "", escaped(description));
}

void Svg::line(Point a, Point b, std::string_view css) {
  text_ += fmt::format("<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>", css,
                       a.x, a.y, b.x, b.y);
}

void Svg::polyline(const std::vector<Point>& points, std::string_view css) {
  text_ += fmt::format("<path class=\"{}\" d=\"{}\"/>", css, path_of(points));
}

void Svg::polygon(const std::vector<Point>& points, std::string_view css) {
  text_ += fmt::format("<path class=\"{}\" d=\"{}Z\"/>", css, path_of(points));
}

void Svg::rect(Point corner, double width, double height, std::string_view css, std::string_view tip) {
  text_ +=
      fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">{}</rect>",
                  css, corner.x, corner.y, width, height, tip_element(tip));
}

void Svg::text(Point at, std::string_view text, std::string_view css, Anchor anchor, double angle) {
  const char* const names[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
  const std::string turn =
      angle == 0 ? "" : fmt::format(" transform=\"rotate({:.1f} {:.1f} {:.1f})\"", angle, at.x, at.y);
  text_ += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\"{}{}>{}</text>", css, at.x, at.y,
                       names[static_cast<int>(anchor)], turn, escaped(text));
}

void Svg::marker(Shape shape, Point at, double radius, std::string_view css, std::string_view tip) {
  text_ += fmt::format("<path class=\"mark {}{}\" d=\"{}\">{}</path>", css,
                       shape == Shape::kRing ? " ring" : "", shape_path(shape, at, radius), tip_element(tip));
}

std::string inline_marker(const Kind& kind) {
  return fmt::format(
      "<svg class=\"key-mark\" viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path class=\"mark {}{}\" "
      "d=\"{}\"/></svg>",
      kind.css, kind.shape == Shape::kRing ? " ring" : "", shape_path(kind.shape, {8, 8}, 4.8));
}

}  // namespace strobe::bench::report
