#include "bench/report/workload_chart.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/report/chart_frame.h"
#include "bench/report/format.h"

namespace strobe::bench::report {
namespace {

double at_step(std::size_t i) { return static_cast<double>(i + 1); }

std::string step_tip(const ResultStep& step, std::size_t i) {
  return fmt::format("step {}: {} decode, {} prefill, {} tokens, {}", i + 1, step.decode, step.prefill,
                     step.tokens, milliseconds(step.layer_us() * 1e-3));
}

class WorkloadDrawing {
 public:
  WorkloadDrawing(const ResultWorkload& workload, double width)
      : workload_(workload),
        steps_(workload.steps),
        left_(52),
        right_(width - 84),
        x_(Scale::linear(1, static_cast<double>(std::max<std::size_t>(2, steps_.size())), left_ + 6,
                         right_ - 6)),
        svg_(width, 640, "Workload over its steps", description()) {}

  std::string draw() {
    draw_times({left_, 34, right_, 240});
    draw_batch({left_, 300, right_, 420});
    const Frame pages{left_, 480, right_, 590};
    draw_pages(pages);
    draw_x_axis(svg_, {left_, pages.bottom, right_, pages.bottom}, ticks_of(x_, 6, plain_tick), "step");
    return svg_.str();
  }

 private:
  std::string description() const {
    return fmt::format("{} steps: median {}, p99 {}; {:.1f} requests in a batch on average.", steps_.size(),
                       milliseconds(workload_.step_median_ms), milliseconds(workload_.step_p99_ms),
                       workload_.batch_mean);
  }

  template <class F>
  std::pair<double, double> range(F value) const {
    double low = value(steps_.front()), high = low;
    for (const ResultStep& step : steps_)
      low = std::min(low, value(step)), high = std::max(high, value(step));
    return {low, high};
  }

  void draw_times(const Frame& frame) {
    const auto ms = [](const ResultStep& step) { return step.layer_us() * 1e-3; };
    const auto [low, high] = range(ms);
    const Scale y = Scale::log(low / 1.3, high * 1.3, frame.bottom, frame.top);
    std::vector<Tick> ticks;
    for (double value : y.ticks(6)) ticks.push_back({y(value), plain_tick(value)});
    draw_y_axis(svg_, frame, ticks, "time of a step, ms");
    svg_.line({frame.left, frame.bottom}, {frame.right, frame.bottom}, "axis");
    const Kind &decode = kind_of("decode"), &prefill = kind_of("prefill");
    double decode_end = -1, prefill_end = -1;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const bool has_prefill = steps_[i].prefill > 0;
      const Kind& kind = has_prefill ? prefill : decode;
      const Point at{x_(at_step(i)), y(ms(steps_[i]))};
      (has_prefill ? prefill_end : decode_end) = at.y;
      svg_.marker(kind.shape, at, 3, kind.css, step_tip(steps_[i], i));
    }
    label_pair(decode_end, "decode only", prefill_end, "with prefill", frame);
  }

  void label_pair(double a, const char* a_text, double b, const char* b_text, const Frame& frame) {
    if (a >= 0 && b >= 0 && std::abs(a - b) < 16) (a < b ? a : b) = (a < b ? b : a) - 16;
    for (const auto& [y, text] : {std::pair{a, a_text}, std::pair{b, b_text}})
      if (y >= 0) svg_.text({frame.right + 6, std::max(y, frame.top) + 4}, text, "point-label");
  }

  // Requests that decode below, requests that prefill on top of them.
  void draw_batch(const Frame& frame) {
    const auto all = [](const ResultStep& step) { return static_cast<double>(step.decode + step.prefill); };
    const Scale y = Scale::linear(0, std::max(1.0, range(all).second * 1.08), frame.bottom, frame.top);
    draw_y_axis(svg_, frame, ticks_of(y, 4, plain_tick), "requests in the batch");
    svg_.polygon(
        area([&](const ResultStep& s) { return y(s.decode); }, [&](const ResultStep&) { return y(0); }),
        "area k1");
    svg_.polygon(area([&](const ResultStep& s) { return y(all(s)); },
                      [&](const ResultStep& s) { return y(s.decode); }),
                 "area k2");
    svg_.line({frame.left, frame.bottom}, {frame.right, frame.bottom}, "axis");
    const ResultStep& last = steps_.back();
    const double decode = last.decode > 0 ? y(last.decode / 2.0) : -1;
    label_pair(decode, "decode", last.prefill > 0 ? y(last.decode + last.prefill / 2.0) : y(all(last)) - 14,
               "prefill", frame);
  }

  void draw_pages(const Frame& frame) {
    const auto used = [](const ResultStep& step) { return static_cast<double>(step.pages_in_use); };
    const double most = range(used).second;
    const bool near = workload_.num_pages < 1.6 * most;
    const Scale y = Scale::linear(0, std::max(1.0, near ? workload_.num_pages * 1.05 : most * 1.15),
                                  frame.bottom, frame.top);
    draw_y_axis(svg_, frame, ticks_of(y, 4, plain_tick),
                fmt::format("pages in use, of {}", grouped(workload_.num_pages)));
    svg_.polygon(
        area([&](const ResultStep& s) { return y(used(s)); }, [&](const ResultStep&) { return y(0); }),
        "area k6");
    if (near) svg_.line({frame.left, y(workload_.num_pages)}, {frame.right, y(workload_.num_pages)}, "limit");
    svg_.line({frame.left, frame.bottom}, {frame.right, frame.bottom}, "axis");
    svg_.text({frame.right + 6, y(used(steps_.back())) + 4}, grouped(used(steps_.back())), "point-label");
  }

  // Between two edges, given in pixels.
  template <class Top, class Bottom>
  std::vector<Point> area(Top top, Bottom bottom) const {
    std::vector<Point> points;
    const double half = steps_.size() > 1 ? (x_(2) - x_(1)) / 2 : 4;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const double y = top(steps_[i]), x = x_(at_step(i));
      points.push_back({x - half, y}), points.push_back({x + half, y});
    }
    for (std::size_t i = steps_.size(); i-- > 0;) {
      const double y = bottom(steps_[i]), x = x_(at_step(i));
      points.push_back({x + half, y}), points.push_back({x - half, y});
    }
    return points;
  }

  const ResultWorkload& workload_;
  const std::vector<ResultStep>& steps_;
  double left_, right_;
  Scale x_;
  Svg svg_;
};

}  // namespace

std::string workload_figure(const ResultWorkload& workload) {
  return figure("Step by step", "Time is that of cache append and attention in one layer.", "wide",
                {kNarrow, kMedium, kWide},
                [&](double width) { return WorkloadDrawing(workload, width).draw(); });
}

}  // namespace strobe::bench::report
