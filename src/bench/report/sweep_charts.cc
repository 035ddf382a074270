#include "bench/report/sweep_charts.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "bench/report/format.h"
#include "bench/report/html.h"
#include "bench/report/line_chart.h"

namespace strobe::bench::report {
namespace {

constexpr const char* kAsQueries = "as queries";

// What a case is apart from the swept parameter, by name; the routine under "".
using Rest = std::map<std::string, std::string>;

struct Sweep {
  std::string parameter;  // the x axis
  std::function<void(Rest&)> drop;
  std::function<LinePoint(const ResultRow&)> point;
};

struct SweepLine {
  Rest rest;      // the same in all of its cases
  Rest as_given;  // of it, what was written on their command lines
  Line line;
};

Rest rest_of(const Results& results, const ResultRow& row, const Sweep& sweep) {
  Rest rest(row.values.begin(), row.values.end());
  sweep.drop(rest);
  const std::string variant = results.variant(row);
  rest[""] = variant.empty() ? row.routine : row.routine + ", " + variant;
  return rest;
}

Rest given_of(const Rest& rest, const ResultRow& row) {
  Rest given{{"", rest.at("")}};
  for (const auto& [name, value] : flags_of(row.flags))
    if (rest.contains(name) && rest.at(name) != kAsQueries) given[name] = rest.at(name);
  return given;
}

// Parts of a description, those that all lines share or those in which they differ.
std::string parts_text(const Rest& given, const std::vector<SweepLine>& all, bool shared) {
  std::string text;
  for (const auto& [name, value] : given) {
    const bool same = std::all_of(all.begin(), all.end(), [&, n = name, v = value](const SweepLine& other) {
      const auto found = other.as_given.find(n);
      return found != other.as_given.end() && found->second == v;
    });
    if (same != shared) continue;
    if (!text.empty()) text += " · ";
    text += name.empty() ? value : name + "\u00a0" + value;
  }
  return text;
}

// Cases that are alike but for the parameter.
std::vector<SweepLine> lines_of(const Results& results, const std::vector<const ResultRow*>& rows,
                                const Sweep& sweep, std::size_t least_points) {
  std::vector<SweepLine> lines;
  for (const ResultRow* row : rows) {
    const std::string* x = find_value(row->values, sweep.parameter);
    if (!x) continue;
    const Rest rest = rest_of(results, *row, sweep);
    auto line = std::find_if(lines.begin(), lines.end(), [&](const SweepLine& l) { return l.rest == rest; });
    if (line == lines.end())
      line = lines.insert(line, {rest, {}, {.label = {}, .kind = &kind_of(row->routine), .points = {}}});
    line->as_given.merge(given_of(rest, *row));
    line->line.points.push_back(sweep.point(*row));
    line->line.points.back().x = *x;
  }
  std::erase_if(lines, [&](const SweepLine& line) {
    std::set<std::string> places;
    for (const LinePoint& point : line.line.points) places.insert(point.x);
    return places.size() < least_points;
  });
  for (SweepLine& line : lines) {
    line.line.label = parts_text(line.as_given, lines, false);
    std::stable_sort(line.line.points.begin(), line.line.points.end(),
                     [](const LinePoint& a, const LinePoint& b) { return value_before(a.x, b.x); });
  }
  return lines;
}

std::vector<Line> drawn(const std::vector<SweepLine>& lines) {
  std::vector<Line> result;
  for (const SweepLine& line : lines) result.push_back(line.line);
  return result;
}

Sweep decode_sweep(const std::string& parameter) {
  return {.parameter = parameter,
          .drop = [=](Rest& rest) { rest.erase(parameter); },
          .point = [](const ResultRow& row) -> LinePoint {
            return {.x = {}, .y = row.gbs(), .limit = row.gbs() / row.fraction, .tip = row_tip(row)};
          }};
}

}  // namespace

std::string decode_figures(const Results& results) {
  const auto rows = results.rows_where([](const ResultRow& row) {
    return row.routine.find("decode") != std::string::npos && row.fraction > 0;
  });
  const struct {
    const char *parameter, *title, *x_title;
  } panels[] = {{"batch_size", "Decode over batch size", "requests in the batch"},
                {"page_size", "Decode over page size", "tokens in a page"},
                {"kv_layout", "Decode over KV layout", "layout of the KV cache"}};
  double most = 0;
  for (const auto& panel : panels)
    most = std::max(most, most_of(drawn(lines_of(results, rows, decode_sweep(panel.parameter), 2))));
  std::string figures;
  for (const auto& panel : panels) {
    const std::vector<SweepLine> lines = lines_of(results, rows, decode_sweep(panel.parameter), 2);
    if (lines.empty()) continue;
    const LineChart chart{.title = panel.title,
                          .x_title = panel.x_title,
                          .y_title = "GB/s",
                          .lines = drawn(lines),
                          .y_tick = plain_tick,
                          .y_most = most};
    figures += figure(panel.title, parts_text(lines.front().as_given, lines, true), "part",
                      {kNarrow, kMedium}, [&](double width) { return draw_line_chart(chart, width); });
  }
  if (figures.empty()) return {};
  return "<p class=\"lead\">Lines join cases that differ in nothing but the axis. A dash is the limit of "
         "memory beside "
         "its case.</p>\n" +
         element("div", "class=\"grid\"", figures);
}

std::string prefill_figure(const Results& results) {
  const auto rows = results.rows_where([](const ResultRow& row) {
    return row.routine.find("prefill") != std::string::npos && row.fraction > 0;
  });
  const Sweep sweep{
      .parameter = "qo_len",
      .drop =
          [](Rest& rest) {
            if (rest["kv_len"] == rest["qo_len"]) rest["kv_len"] = kAsQueries;
            rest.erase("qo_len");
          },
      .point = [](const ResultRow& row) -> LinePoint {
        return {.x = {}, .y = row.gflops(), .limit = row.gflops() / row.fraction, .tip = row_tip(row)};
      }};
  const std::vector<SweepLine> lines = lines_of(results, rows, sweep, 1);
  if (lines.empty()) return {};
  const LineChart chart{.title = "Prefill over length",
                        .x_title = "query tokens of a request",
                        .y_title = "FLOP/s",
                        .lines = drawn(lines),
                        .y_tick = si_tick,
                        .y_most = 0};
  return figure(chart.title,
                "Lines join cases that differ in length alone. A dash is the limit beside its case.", "wide",
                {kNarrow, kMedium, kWide}, [&](double width) { return draw_line_chart(chart, width); });
}

}  // namespace strobe::bench::report
