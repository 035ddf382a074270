// Lines over one parameter of a case, labelled at their ends.
#pragma once

#include <string>
#include <vector>

#include "bench/report/chart_frame.h"
#include "bench/report/kind.h"

namespace strobe::bench::report {

struct LinePoint {
  std::string x;     // a value of the parameter, as text
  double y = 0;      // what was reached
  double limit = 0;  // what the machine could do at that moment
  std::string tip;
};

struct Line {
  std::string label;  // parts separated by " · "
  const Kind* kind = nullptr;
  std::vector<LinePoint> points;  // in the order of x
};

struct LineChart {
  std::string title, x_title, y_title;
  std::vector<Line> lines;
  TickText y_tick;
  double y_most = 0;  // that the axis has at least, for charts beside each other
};

// The largest value or limit of the lines.
double most_of(const std::vector<Line>& lines);

// True when a is before b: as numbers where both are numbers, else as texts.
bool value_before(const std::string& a, const std::string& b);

std::string draw_line_chart(const LineChart& chart, double width);

}  // namespace strobe::bench::report
