#include "bench/report/ratio_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report/chart_frame.h"
#include "bench/report/format.h"
#include "bench/report/results.h"

namespace strobe::bench::report {
namespace {

// Shortened with an ellipsis to `width` pixels.
std::string fitted(const std::string& text, double width) {
  if (text_width(text, kFontSize) <= width) return text;
  std::string shorter = text;
  while (!shorter.empty() && text_width(shorter + "…", kFontSize) > width) {
    while ((static_cast<unsigned char>(shorter.back()) & 0xc0) == 0x80) shorter.pop_back();
    shorter.pop_back();
  }
  return shorter + "…";
}

class RatioDrawing {
 public:
  RatioDrawing(const Comparison& comparison, double width)
      : comparison_(comparison),
        width_(width),
        above_(width < kWide),
        pitch_(above_ ? 42 : 26),
        frame_{above_ ? 8 : 0.46 * width, 26, width - 66,
               30 + pitch_ * static_cast<double>(comparison.cases.size())},
        svg_(width, frame_.bottom + 50, "Time in B over time in A",
             fmt::format("{} cases: {}.", comparison.cases.size(), summary_text(comparison))) {
    double reach = std::max(0.2, 2 * comparison.threshold);
    for (const ComparedCase& c : comparison.cases)
      reach =
          std::max({reach, std::abs(std::log(c.result.ratio.low)), std::abs(std::log(c.result.ratio.high))});
    reach = std::min(reach * 1.05, std::log(4.0));
    x_ = Scale::log(std::exp(-reach), std::exp(reach), frame_.left, frame_.right);
  }

  std::string draw() {
    const double band = 1 + comparison_.threshold;
    svg_.rect({x_(1 / band), frame_.top}, x_(band) - x_(1 / band), frame_.bottom - frame_.top, "roof-band");
    draw_x_axis(svg_, frame_, ticks(), "time in B over time in A");
    svg_.line({x_(1), frame_.top - 4}, {x_(1), frame_.bottom}, "limit");
    svg_.text({x_(1) - 6, frame_.top - 10}, "B faster", "tick", Anchor::kEnd);
    svg_.text({x_(1) + 6, frame_.top - 10}, "B slower", "tick");
    for (std::size_t i = 0; i < comparison_.cases.size(); ++i)
      draw_case(comparison_.cases[i],
                frame_.top + pitch_ * (static_cast<double>(i) + (above_ ? 0.72 : 0.55)));
    return svg_.str();
  }

 private:
  std::vector<Tick> ticks() const {
    std::vector<Tick> result;
    for (double value : {0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 2.0, 4.0})
      if (value >= x_.low() && value <= x_.high() && (result.empty() || x_(value) - result.back().place > 34))
        result.push_back({x_(value), plain_tick(value)});
    return result;
  }

  double inside(double ratio) const { return x_(std::clamp(ratio, x_.low(), x_.high())); }

  void draw_case(const ComparedCase& c, double y) {
    const Kind& mark = mark_of(c.result.verdict);
    const Ratio& ratio = c.result.ratio;
    const std::string label = c.a->routine + "  " + case_text(*c.a);
    if (above_)
      svg_.text({frame_.left, y - 12}, fitted(label, width_ - 16), "name");
    else
      svg_.text({0, y + 4}, fitted(label, frame_.left - 14), "name");
    svg_.line({inside(ratio.low), y}, {inside(ratio.high), y}, "line " + std::string(mark.css));
    svg_.marker(mark.shape, {inside(ratio.median), y}, 5, mark.css,
                fmt::format("{}: {} against {}, {}", c.a->routine, milliseconds(c.b->median_ms),
                            milliseconds(c.a->median_ms), mark.label));
    svg_.text({width_ - 2, y + 4}, signed_percent(ratio.median - 1), "value", Anchor::kEnd);
  }

  const Comparison& comparison_;
  double width_;
  bool above_;  // names stand above their lines
  double pitch_;
  Frame frame_;
  Svg svg_;
  Scale x_;
};

}  // namespace

const Kind& mark_of(Verdict verdict) {
  static constexpr Kind kMarks[] = {{"faster", "k4", Shape::kDown},
                                    {"slower", "k2", Shape::kTriangle},
                                    {"same", "k8", Shape::kCircle},
                                    {"not resolved", "k8", Shape::kRing},
                                    {"machine changed", "k3", Shape::kCross}};
  return kMarks[static_cast<int>(verdict)];
}

std::string ratio_figure(const Comparison& comparison) {
  return figure(
      "Every case, B against A",
      fmt::format(
          "A mark is the ratio of the medians, its line what the scatter of both runs leaves open. The band "
          "is the threshold of {:g} %.",
          comparison.threshold * 100),
      "wide", {kNarrow, kMedium, kWide},
      [&](double width) { return RatioDrawing(comparison, width).draw(); });
}

}  // namespace strobe::bench::report
