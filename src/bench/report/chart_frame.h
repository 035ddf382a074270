// The plot area of a picture and its axes.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/report/scale.h"
#include "bench/report/svg.h"

namespace strobe::bench::report {

inline constexpr double kFontSize = 12;  // of texts in pictures, as in page.css

// Widths that a picture is drawn for; page.css shows the one that fits.
inline constexpr double kNarrow = 360, kMedium = 560, kWide = 1000;

struct Frame {
  double left, top, right, bottom;
};

struct Tick {
  double place;  // in pixels
  std::string text;
};

using TickText = std::string (*)(double value);
std::vector<Tick> ticks_of(const Scale& scale, int count, TickText text);
std::string plain_tick(double value);    // "0.1", "20", "1000"
std::string si_tick(double value);       // of a value in units of 1e9: "100 M", "1 G", "1 T"
std::string percent_tick(double value);  // of a fraction

// Grid lines with their texts below or left of the frame.
void draw_x_axis(Svg& svg, const Frame& frame, const std::vector<Tick>& ticks, std::string_view title);
void draw_y_axis(Svg& svg, const Frame& frame, const std::vector<Tick>& ticks, std::string_view title);

// <figure> with one picture for each width.
std::string figure(std::string_view caption, std::string_view note, std::string_view css,
                   const std::vector<double>& widths, const std::function<std::string(double)>& draw);

}  // namespace strobe::bench::report
