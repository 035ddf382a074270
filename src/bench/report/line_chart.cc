#include "bench/report/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "bench/report/format.h"
#include "bench/report/labels.h"

namespace strobe::bench::report {
namespace {

constexpr double kLineHeight = 15;

bool is_number(const std::string& text, double& value) {
  char* end = nullptr;
  value = std::strtod(text.c_str(), &end);
  return !text.empty() && *end == 0 && std::isfinite(value);
}

// Places of the parameter's values: by their logarithm when all are positive numbers, else side by side.
class Columns {
 public:
  Columns(const std::vector<Line>& lines, double left, double right) : left_(left), right_(right) {
    for (const Line& line : lines)
      for (const LinePoint& point : line.points)
        if (std::find(names_.begin(), names_.end(), point.x) == names_.end()) names_.push_back(point.x);
    std::sort(names_.begin(), names_.end(), value_before);
    double value = 0;
    for (const std::string& name : names_) log_ &= is_number(name, value) && value > 0;
  }

  double operator()(const std::string& name) const {
    if (names_.size() == 1) return (left_ + right_) / 2;
    if (log_)
      return Scale::log(std::stod(names_.front()), std::stod(names_.back()), left_, right_)(std::stod(name));
    const auto index = std::find(names_.begin(), names_.end(), name) - names_.begin();
    return left_ + (right_ - left_) * static_cast<double>(index) / static_cast<double>(names_.size() - 1);
  }
  std::vector<Tick> ticks() const {
    std::vector<Tick> ticks;
    for (const std::string& name : names_) ticks.push_back({(*this)(name), name});
    return ticks;
  }

 private:
  std::vector<std::string> names_;
  double left_, right_;
  bool log_ = true;
};

// A label in lines of at most `width`, broken between its parts.
std::vector<std::string> wrapped(const std::string& label, double width) {
  constexpr std::string_view kBetween = " · ";
  std::vector<std::string> lines;
  for (std::size_t start = 0; start < label.size();) {
    const std::size_t end = std::min(label.find(kBetween, start), label.size());
    const std::string part = label.substr(start, end - start);
    if (!lines.empty() && text_width(lines.back() + ", " + part, kFontSize) <= width)
      lines.back() += ", " + part;
    else
      lines.push_back(part);
    start = end + (end < label.size() ? kBetween.size() : 0);
  }
  return lines;
}

class LineDrawing {
 public:
  LineDrawing(const LineChart& chart, double width)
      : chart_(chart),
        label_width_(label_column(chart, width)),
        frame_{52, 40, width - 14 - label_width_, width < kMedium ? 250.0 : 320.0},
        svg_(width, frame_.bottom + 50, chart.title, description()),
        columns_(chart.lines, frame_.left + 26, frame_.right - 26) {
    y_ = Scale::linear(0, std::max(chart.y_most, most_of(chart.lines)) * 1.05, frame_.bottom, frame_.top);
  }

  std::string draw() {
    draw_x_axis(svg_, frame_, columns_.ticks(), chart_.x_title);
    draw_y_axis(svg_, frame_, ticks_of(y_, 5, chart_.y_tick), chart_.y_title);
    for (const Line& line : chart_.lines)
      for (const LinePoint& point : line.points) {
        const double x = columns_(point.x), y = y_(point.limit);
        svg_.line({x - 9, y}, {x + 9, y}, "limit-here");
      }
    for (const Line& line : chart_.lines) draw_line(line);
    draw_labels();
    return svg_.str();
  }

 private:
  static double label_column(const LineChart& chart, double width) {
    double widest = 0;
    for (const Line& line : chart.lines)
      for (const std::string& text : wrapped(line.label, width * 0.26))
        widest = std::max(widest, text_width(text, kFontSize));
    return widest > 0 ? widest + 26 : 0;
  }

  std::string description() const {
    std::string text = chart_.y_title + " over " + chart_.x_title + ".";
    for (const Line& line : chart_.lines) {
      text += " " + (line.label.empty() ? std::string("Measured") : line.label) + ":";
      for (const LinePoint& point : line.points)
        text += fmt::format("{} {} at {}", &point == &line.points.front() ? "" : ",", chart_.y_tick(point.y),
                            point.x);
      text += ".";
    }
    return text;
  }

  void draw_line(const Line& line) {
    std::vector<Point> path;
    for (const LinePoint& point : line.points) path.push_back({columns_(point.x), y_(point.y)});
    const std::string css(line.kind->css);
    if (path.size() > 1) svg_.polyline(path, "line " + css);
    for (std::size_t i = 0; i < path.size(); ++i)
      svg_.marker(line.kind->shape, path[i], 5, css, line.points[i].tip);
  }

  void draw_labels() {
    std::vector<double> centres, heights;
    std::vector<std::vector<std::string>> texts;
    std::vector<Point> ends;
    for (const Line& line : chart_.lines) {
      if (line.label.empty()) continue;
      texts.push_back(wrapped(line.label, label_width_ - 26));
      ends.push_back({columns_(line.points.back().x), y_(line.points.back().y)});
      centres.push_back(ends.back().y);
      heights.push_back(kLineHeight * static_cast<double>(texts.back().size()) + 6);
    }
    const std::vector<double> places = spread(centres, heights, frame_.top - 8, frame_.bottom + 40);
    for (std::size_t i = 0; i < places.size(); ++i) {
      const double left = frame_.right + 18;
      svg_.polyline({{ends[i].x + 8, ends[i].y},
                     {std::max(frame_.right - 4, ends[i].x + 8), ends[i].y},
                     {left - 4, places[i]}},
                    "leader");
      const double first = places[i] - kLineHeight * (static_cast<double>(texts[i].size()) - 1) / 2 + 4;
      for (std::size_t k = 0; k < texts[i].size(); ++k)
        svg_.text({left, first + kLineHeight * static_cast<double>(k)}, texts[i][k], "point-label");
    }
  }

  const LineChart& chart_;
  double label_width_;
  Frame frame_;
  Svg svg_;
  Columns columns_;
  Scale y_;
};

}  // namespace

bool value_before(const std::string& a, const std::string& b) {
  double x = 0, y = 0;
  return is_number(a, x) && is_number(b, y) ? x < y : a < b;
}

double most_of(const std::vector<Line>& lines) {
  double most = 0;
  for (const Line& line : lines)
    for (const LinePoint& point : line.points) most = std::max({most, point.y, point.limit});
  return most;
}

std::string draw_line_chart(const LineChart& chart, double width) { return LineDrawing(chart, width).draw(); }

}  // namespace strobe::bench::report
