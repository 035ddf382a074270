#include "bench/report/routine_chart.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/report/chart_frame.h"
#include "bench/report/format.h"

namespace strobe::bench::report {
namespace {

struct Group {
  std::string label;
  const Kind* kind;
  std::vector<const ResultRow*> rows;
  double median() const {
    std::vector<double> fractions;
    for (const ResultRow* row : rows) fractions.push_back(row->fraction);
    return median_of(fractions);
  }
};

// By routine and variant, in the order of their first case.
std::vector<Group> groups_of(const Results& results) {
  std::vector<Group> groups;
  for (const ResultRow* row : results.rows()) {
    const std::string variant = results.variant(*row);
    const std::string label = variant.empty() ? row->routine : row->routine + ", " + variant;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.label == label; });
    if (group == groups.end()) group = groups.insert(groups.end(), {label, &kind_of(row->routine), {}});
    group->rows.push_back(row);
  }
  return groups;
}

std::string draw(const std::vector<Group>& groups, double width) {
  const bool narrow = width < kMedium;  // names stand above their lines
  double name_width = 0, most = 1, least_median = 1;
  std::size_t cases = 0;
  for (const Group& group : groups) {
    name_width = std::max(name_width, text_width(group.label, kFontSize));
    cases += group.rows.size();
    least_median = std::min(least_median, group.median());
    for (const ResultRow* row : group.rows) most = std::max(most, row->fraction);
  }
  const double pitch = narrow ? 44 : 30;
  const Frame frame = {narrow ? 10 : std::min(name_width + 18, width * 0.4), 14, width - 60,
                       22 + pitch * static_cast<double>(groups.size())};
  Svg svg(width, frame.bottom + 50, "Share of the limit by routine",
          fmt::format("{} cases of {} routines; the lowest median of a routine is {} of its limit.", cases,
                      groups.size(), percent(least_median)));
  const Scale x = Scale::linear(0, std::min(most * 1.04, 2.0), frame.left, frame.right);
  draw_x_axis(svg, frame, ticks_of(x, narrow ? 4 : 6, percent_tick),
              "achieved, of the machine’s limit at that moment");
  svg.line({x(1), frame.top - 6}, {x(1), frame.bottom}, "limit");
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    const double y = frame.top + pitch * (static_cast<double>(i) + (narrow ? 0.72 : 0.6)),
                 median = group.median();
    if (narrow)
      svg.text({frame.left, y - 13}, group.label, "name");
    else
      svg.text({frame.left - 12, y + 4}, group.label, "name", Anchor::kEnd);
    svg.line({frame.left, y}, {frame.right, y}, "row");
    svg.rect({x(std::min(median, x.high())) - 1.25, y - 11}, 2.5, 22, "median");
    for (const ResultRow* row : group.rows)
      svg.marker(group.kind->shape, {x(std::min(row->fraction, x.high())), y}, 4.6, group.kind->css,
                 row_tip(*row));
    svg.text({width - 4, y + 4}, percent(median), "value", Anchor::kEnd);
  }
  svg.text({width - 4, frame.top - 2}, "median", "tick", Anchor::kEnd);
  return svg.str();
}

}  // namespace

std::string routine_figure(const Results& results) {
  if (results.rows().empty()) return {};
  const std::vector<Group> groups = groups_of(results);
  return figure(
      "Share of the limit, by routine",
      "A mark is a case, the bar its routine’s median. The limit is that of memory or arithmetic, whichever "
      "binds, measured beside the case; noise in it can lift a case above 100 %.",
      "wide", {kNarrow, kMedium, kWide}, [&](double width) { return draw(groups, width); });
}

}  // namespace strobe::bench::report
