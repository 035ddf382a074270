#include "bench/report/ratio_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report/chart_frame.h"
#include "bench/report/format.h"
#include "bench/report/labels.h"
#include "bench/report/results.h"

namespace strobe::bench::report {
namespace {

constexpr double kLineHeight = 15;

// A case's name and its line of the picture.
struct CaseLine {
  const ComparedCase* compared;
  std::vector<std::string> name;
  double top = 0, y = 0;  // of the name's box and of the mark
};

class RatioDrawing {
 public:
  RatioDrawing(const Comparison& comparison, double width)
      : comparison_(comparison),
        width_(width),
        above_(width < kWide),
        frame_{above_ ? 8 : 0.46 * width, 26, width - 66, lay_out() + 6},
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
    svg_.rect({inside(1 / band), frame_.top}, inside(band) - inside(1 / band), frame_.bottom - frame_.top,
              "roof-band");
    draw_x_axis(svg_, frame_, ticks(), "time in B over time in A");
    svg_.line({x_(1), frame_.top - 4}, {x_(1), frame_.bottom}, "limit");
    svg_.text({x_(1) - 6, frame_.top - 10}, "B faster", "tick", Anchor::kEnd);
    svg_.text({x_(1) + 6, frame_.top - 10}, "B slower", "tick");
    for (const CaseLine& line : lines_) draw_case(line);
    return svg_.str();
  }

 private:
  // Names stand left of their marks, above them where it is narrow. Returns where the last one ends.
  double lay_out() {
    double top = 30;
    for (const ComparedCase& c : comparison_.cases) {
      CaseLine line{&c, wrapped(c.a->routine + " · " + case_text(*c.a),
                                above_ ? width_ - 16 : 0.46 * width_ - 14, kFontSize)};
      const double height = kLineHeight * static_cast<double>(line.name.size());
      line.top = top;
      line.y = above_ ? top + height + 9 : top + height / 2 + 5;
      top = above_ ? line.y + 15 : top + height + 11;
      lines_.push_back(std::move(line));
    }
    return top;
  }

  std::vector<Tick> ticks() const {
    std::vector<Tick> result;
    for (double value : {0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 2.0, 4.0})
      if (value >= x_.low() && value <= x_.high() && (result.empty() || x_(value) - result.back().place > 34))
        result.push_back({x_(value), plain_tick(value)});
    return result;
  }

  double inside(double ratio) const { return x_(std::clamp(ratio, x_.low(), x_.high())); }

  void draw_case(const CaseLine& line) {
    const ComparedCase& c = *line.compared;
    const Kind& mark = mark_of(c.result.verdict);
    const Ratio& ratio = c.result.ratio;
    for (std::size_t i = 0; i < line.name.size(); ++i)
      svg_.text({above_ ? frame_.left : 0, line.top + 9 + kLineHeight * static_cast<double>(i)}, line.name[i],
                "name");
    svg_.line({inside(ratio.low), line.y}, {inside(ratio.high), line.y}, "line " + std::string(mark.css));
    svg_.marker(mark.shape, {inside(ratio.median), line.y}, 5, mark.css,
                fmt::format("{}: {} against {}, {}", c.a->routine, milliseconds(c.b->median_ms),
                            milliseconds(c.a->median_ms), mark.label));
    svg_.text({width_ - 2, line.y + 4}, signed_percent(ratio.median - 1), "value", Anchor::kEnd);
  }

  const Comparison& comparison_;
  double width_;
  bool above_;
  std::vector<CaseLine> lines_;
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
