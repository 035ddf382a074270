#include "bench/report/roofline_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "bench/report/chart_frame.h"
#include "bench/report/format.h"
#include "bench/report/html.h"
#include "bench/report/labels.h"

namespace strobe::bench::report {
namespace {

double intensity(const ResultRow& row) { return row.bytes() > 0 ? row.flops / row.bytes() : 0; }

struct Ceiling {
  double gflops;
  std::string label;
};

// What the limits of a page's rows and runs allow.
struct Roof {
  double read_low = INFINITY, read_high = 0;  // GB/s
  std::vector<Ceiling> ceilings;              // ascending
  double open_top = 0;                        // of the picture, where no ceiling is known
  double top() const { return ceilings.empty() ? open_top : ceilings.back().gflops; }
  bool moved() const { return read_high > 1.1 * read_low; }
};

void add_ceiling(Roof& roof, double gflops, const std::string& label) {
  if (gflops <= 0) return;
  for (Ceiling& known : roof.ceilings)
    if (known.label == label) {
      known.gflops = std::max(known.gflops, gflops);
      return;
    }
  roof.ceilings.push_back({gflops, label});
}

Roof roof_of(const Results& results) {
  Roof roof;
  std::set<std::string> levels;
  for (const ResultRow* row : results.rows()) levels.insert(row->isa + "/" + std::to_string(row->threads));
  const auto add = [&](const LimitRates& rates, const std::string& isa, int threads) {
    roof.read_low = std::min(roof.read_low, rates.dram_read_gbs);
    roof.read_high = std::max(roof.read_high, rates.dram_read_gbs);
    const std::string of = levels.size() > 1 ? fmt::format(" ({}, {} threads)", isa, threads) : "";
    add_ceiling(roof, rates.fma_gflops, "FMA" + of);
    add_ceiling(roof, rates.bf16_dot_gflops, "bf16 dot" + of);
    add_ceiling(roof, rates.e4m3_dot_gflops, "e4m3 dot" + of);
  };
  for (const ResultRow* row : results.rows()) add(row->limits, row->isa, row->threads);
  double intensest = 0.25;
  for (const ResultRow* row : results.rows()) intensest = std::max(intensest, intensity(*row));
  roof.open_top = 4 * intensest * roof.read_high;
  std::sort(roof.ceilings.begin(), roof.ceilings.end(),
            [](const Ceiling& a, const Ceiling& b) { return a.gflops < b.gflops; });
  return roof;
}

std::string ceiling_label(const Ceiling& ceiling) { return ceiling.label + " " + gigaflops(ceiling.gflops); }

std::string slope_label(const Roof& roof) {
  const std::string high = gigabytes_per_second(roof.read_high);
  return roof.moved() ? fmt::format("DRAM read {} to {}", significant(roof.read_low), high)
                      : "DRAM read " + high;
}

class RooflineChart {
 public:
  RooflineChart(const Results& results, double width)
      : results_(results),
        roof_(roof_of(results)),
        narrow_(width < kMedium),
        width_(width),
        height_(narrow_         ? 380
                : width < kWide ? 440
                                : 520),
        svg_(width, height_, "Roofline", description()) {
    for (const ResultRow* row : results.rows()) has_copies_ |= row->flops == 0;
    const double strip = has_copies_ ? 44 : 0;
    frame_ = {52 + strip, 34, width - 14, height_ - 52};
    choose_scales();
  }

  std::string draw() {
    draw_x_axis(svg_, frame_, ticks_of(x_, 8, plain_tick), "FLOPs per byte of memory traffic");
    draw_y_axis(svg_, {52, frame_.top, frame_.right, frame_.bottom}, ticks_of(y_, 8, si_tick), "FLOP/s");
    draw_roof();
    draw_points();
    draw_labels();
    return svg_.str();
  }

 private:
  std::string description() const {
    std::vector<double> fractions;
    for (const ResultRow* row : results_.rows()) fractions.push_back(row->fraction);
    const auto [low, high] = std::minmax_element(fractions.begin(), fractions.end());
    return fmt::format(
        "{} cases under a memory limit of up to {}{}; they reach {} to {} of their limits.", fractions.size(),
        gigabytes_per_second(roof_.read_high),
        roof_.ceilings.empty() ? "" : " and an arithmetic limit of up to " + gigaflops(roof_.top()),
        percent(*low), percent(*high));
  }

  void choose_scales() {
    double low_x = 0.1, high_x = 2 * roof_.top() / roof_.read_low, low_y = roof_.top() / 10;
    for (const ResultRow* row : results_.rows())
      if (row->flops > 0) {
        low_x = std::min(low_x, intensity(*row) / 1.6);
        high_x = std::max(high_x, intensity(*row) * 2);
        low_y = std::min(low_y, row->gflops() / 2);
      }
    for (const ResultRow* row : results_.rows())
      if (row->flops == 0) low_y = std::min(low_y, row->gbs() * low_x / 2);
    x_ = Scale::log(low_x, high_x, frame_.left, frame_.right);
    y_ = Scale::log(low_y, roof_.top() * 2, frame_.bottom, frame_.top);
  }

  Point memory_point(double gbs, double x) const { return {x_(x), y_(gbs * x)}; }
  // Where the slope of a bandwidth enters the frame.
  double entry(double gbs) const { return std::max(x_.low(), y_.low() / gbs); }

  void draw_slope(double gbs, std::string_view css) {
    svg_.line(memory_point(gbs, entry(gbs)), memory_point(gbs, roof_.top() / gbs), css);
  }

  void draw_roof() {
    if (roof_.moved()) {
      const double low = roof_.read_low, high = roof_.read_high, top = roof_.top();
      svg_.polygon({memory_point(high, entry(high)), memory_point(high, top / high),
                    memory_point(low, top / low), memory_point(low, entry(low))},
                   "roof-band");
      draw_slope(low, "roof-low");
    }
    draw_slope(roof_.read_high, "roof");
    for (const Ceiling& ceiling : roof_.ceilings)
      svg_.line({x_(ceiling.gflops / roof_.read_high), y_(ceiling.gflops)},
                {frame_.right, y_(ceiling.gflops)}, "roof");
  }

  // Above the slope, along it.
  void label_slope() {
    const Point a = memory_point(roof_.read_high, entry(roof_.read_high)),
                b = memory_point(roof_.read_high, roof_.top() / roof_.read_high);
    const double angle = std::atan2(b.y - a.y, b.x - a.x) * 180 / std::numbers::pi;
    const double along = narrow_ ? 0.3 : 0.36;
    const double lift = 9 / std::cos(angle * std::numbers::pi / 180);
    svg_.text({a.x + along * (b.x - a.x), a.y + along * (b.y - a.y) - lift}, slope_label(roof_), "roof-label",
              Anchor::kMiddle, angle);
  }

  Point place_of(const ResultRow& row) const {
    if (row.flops == 0) return {frame_.left - 22, y_(row.gbs() * x_.low())};
    return {x_(intensity(row)), y_(row.gflops())};
  }

  void draw_points() {
    for (const ResultRow* row : results_.rows()) {
      const Kind& kind = kind_of(row->routine);
      svg_.marker(kind.shape, place_of(*row), radius(), kind.css, row_tip(*row));
    }
    if (!has_copies_) return;
    svg_.line({frame_.left, frame_.top}, {frame_.left, frame_.bottom}, "axis");
    svg_.text({frame_.left - 22, frame_.bottom + 18}, "0", "tick", Anchor::kMiddle);
  }

  void draw_labels() {
    LabelPlacer labels({frame_.left + 4, frame_.top - 16, frame_.right, frame_.bottom - 4}, kFontSize);
    const double clear = radius() + 1;
    for (const ResultRow* row : results_.rows()) {
      const Point at = place_of(*row);
      labels.keep_clear({at.x - clear, at.y - clear, at.x + clear, at.y + clear});
    }
    for (const Ceiling& ceiling : roof_.ceilings) {
      const double y = y_(ceiling.gflops);
      labels.keep_clear({x_(ceiling.gflops / roof_.read_high), y}, {frame_.right, y});
    }
    for (double gbs : {roof_.read_low, roof_.read_high}) {
      const Point a = memory_point(gbs, entry(gbs)), b = memory_point(gbs, roof_.top() / gbs);
      labels.keep_clear(a, b);
      labels.keep_clear({a.x, a.y - 16},
                        {a.x + 0.75 * (b.x - a.x), a.y + 0.75 * (b.y - a.y) - 16});  // its text
    }
    label_slope();
    for (const Ceiling& ceiling : roof_.ceilings) label_ceiling(ceiling, labels);
    label_routines(labels);
  }

  // Above its line or, without room there, below it; as far right as there is room.
  void label_ceiling(const Ceiling& ceiling, LabelPlacer& labels) {
    const std::string text = ceiling_label(ceiling);
    const double y = y_(ceiling.gflops), width = text_width(text, kFontSize);
    for (const double baseline : {y - 7, y + 16})
      for (double right = frame_.right - 2; right - width > frame_.left; right -= 4) {
        const Box box{right - width, baseline - 11, right, baseline + 3};
        if (!labels.is_free(box)) continue;
        svg_.text({right, baseline}, text, "roof-label", Anchor::kEnd);
        labels.keep_clear(box);
        return;
      }
  }

  // Each routine at its fastest case that has room for the name.
  void label_routines(LabelPlacer& labels) {
    std::vector<const ResultRow*> rows =
        results_.rows_where([](const ResultRow& row) { return row.flops > 0; });
    std::stable_sort(rows.begin(), rows.end(),
                     [](const ResultRow* a, const ResultRow* b) { return a->gflops() > b->gflops(); });
    std::set<std::string> done;
    for (const ResultRow* row : rows) {
      if (done.contains(row->routine)) continue;
      const auto place = labels.place(place_of(*row), radius(), row->routine);
      if (!place) continue;
      svg_.text(place->baseline, row->routine, "point-label", place->anchor);
      done.insert(row->routine);
    }
  }

  double radius() const { return narrow_ ? 4 : 5; }

  const Results& results_;
  Roof roof_;
  bool narrow_;
  double width_, height_;
  bool has_copies_ = false;
  Svg svg_;
  Frame frame_{};
  Scale x_, y_;
};

std::string key_of(const Results& results) {
  std::string items;
  std::set<std::string_view> seen;
  for (const ResultRow* row : results.rows()) {
    const Kind& kind = kind_of(row->routine);
    if (seen.insert(kind.label).second) items += element("li", "", inline_marker(kind) + escaped(kind.label));
  }
  return element("ul", "class=\"key\" aria-label=\"Shapes\"", items);
}

}  // namespace

std::string roofline_figure(const Results& results) {
  const auto elsewhere = [&](const ResultRow* row) { return row->device != results.rows().front()->device; };
  if (results.rows().empty() || std::any_of(results.rows().begin(), results.rows().end(), elsewhere))
    return {};
  const bool copies = std::any_of(results.rows().begin(), results.rows().end(),
                                  [](const ResultRow* row) { return row->flops == 0; });
  const Roof roof = roof_of(results);
  std::string note = "A point is a case; the nearer to the lines above it, the better. " + slope_label(roof);
  for (const Ceiling& ceiling : roof.ceilings) note += ", " + ceiling_label(ceiling);
  note += ".";
  if (copies)
    note +=
        " Left of the axis: cases that only move data, as far below the memory limit as their bandwidth is.";
  return figure("Every case under the machine’s roof", note, "wide", {kNarrow, kMedium, kWide},
                [&](double width) { return RooflineChart(results, width).draw(); }) +
         key_of(results);
}

}  // namespace strobe::bench::report
