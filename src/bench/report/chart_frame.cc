#include "bench/report/chart_frame.h"

#include <fmt/format.h>

#include "bench/report/html.h"

namespace strobe::bench::report {

std::vector<Tick> ticks_of(const Scale& scale, int count, TickText text) {
  std::vector<Tick> ticks;
  for (double value : scale.ticks(count)) ticks.push_back({scale(value), text(value)});
  return ticks;
}

std::string plain_tick(double value) { return fmt::format("{:.6g}", value); }

std::string si_tick(double value) {
  const char* const units[] = {"", "k", "M", "G", "T", "P"};
  value *= 1e9;
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(units); ++unit) value /= 1000;
  return fmt::format("{:.3g}\u00a0{}", value, units[unit]);
}

std::string percent_tick(double value) { return fmt::format("{:.0f}\u00a0%", value * 100); }

void draw_x_axis(Svg& svg, const Frame& frame, const std::vector<Tick>& ticks, std::string_view title) {
  for (const Tick& tick : ticks) {
    svg.line({tick.place, frame.top}, {tick.place, frame.bottom}, "grid");
    svg.text({tick.place, frame.bottom + 18}, tick.text, "tick", Anchor::kMiddle);
  }
  svg.line({frame.left, frame.bottom}, {frame.right, frame.bottom}, "axis");
  svg.text({(frame.left + frame.right) / 2, frame.bottom + 38}, title, "axis-title", Anchor::kMiddle);
}

void draw_y_axis(Svg& svg, const Frame& frame, const std::vector<Tick>& ticks, std::string_view title) {
  for (const Tick& tick : ticks) {
    svg.line({frame.left, tick.place}, {frame.right, tick.place}, "grid");
    svg.text({frame.left - 8, tick.place + 4}, tick.text, "tick", Anchor::kEnd);
  }
  svg.text({2, frame.top - 12}, title, "axis-title");
}

std::string figure(std::string_view caption, std::string_view note, std::string_view css,
                   const std::vector<double>& widths, const std::function<std::string(double)>& draw) {
  std::string pictures;
  for (double width : widths) pictures += draw(width);
  return fmt::format(
      "<figure class=\"{}\"><figcaption><strong>{}</strong> <span>{}</span></figcaption><div class=\"canvas "
      "upto{:.0f}\">{}"
      "</div></figure>\n",
      css, escaped(caption), escaped(note), widths.back(), pictures);
}

}  // namespace strobe::bench::report
