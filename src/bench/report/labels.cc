#include "bench/report/labels.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace strobe::bench::report {

void LabelPlacer::keep_clear(Point a, Point b) {
  const double length = std::hypot(b.x - a.x, b.y - a.y);
  const int pieces = std::max(1, static_cast<int>(length / 6));
  for (int i = 0; i <= pieces; ++i) {
    const double x = a.x + (b.x - a.x) * i / pieces, y = a.y + (b.y - a.y) * i / pieces;
    keep_clear({x - 2, y - 2, x + 2, y + 2});
  }
}

bool LabelPlacer::is_free(const Box& box) const {
  return box.left >= area_.left && box.right <= area_.right && box.top >= area_.top &&
         box.bottom <= area_.bottom &&
         std::none_of(taken_.begin(), taken_.end(), [&](const Box& other) { return other.overlaps(box); });
}

std::optional<LabelPlacer::Place> LabelPlacer::place(Point point, double radius, std::string_view text) {
  const double width = text_width(text, font_size_), half = 0.5 * font_size_;
  for (double gap : {radius + 4, radius + 11}) {
    const struct {
      Point at;
      Anchor anchor;
    } tries[] = {{{point.x + gap, point.y}, Anchor::kStart},
                 {{point.x - gap, point.y}, Anchor::kEnd},
                 {{point.x, point.y - gap - half}, Anchor::kMiddle},
                 {{point.x, point.y + gap + half}, Anchor::kMiddle},
                 {{point.x + gap * 0.8, point.y - gap}, Anchor::kStart},
                 {{point.x + gap * 0.8, point.y + gap}, Anchor::kStart},
                 {{point.x - gap * 0.8, point.y - gap}, Anchor::kEnd},
                 {{point.x - gap * 0.8, point.y + gap}, Anchor::kEnd}};
    for (const auto& [at, anchor] : tries) {
      const double left = anchor == Anchor::kStart ? at.x
                          : anchor == Anchor::kEnd ? at.x - width
                                                   : at.x - width / 2;
      const Box box{left - 2, at.y - half - 1, left + width + 2, at.y + half + 1};
      if (!is_free(box)) continue;
      keep_clear(box);
      return Place{{at.x, at.y + 0.35 * font_size_}, anchor};
    }
  }
  return {};
}

std::vector<double> spread(const std::vector<double>& centres, const std::vector<double>& heights, double top,
                           double bottom) {
  std::vector<std::size_t> order(centres.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return centres[a] < centres[b]; });
  std::vector<double> result = centres;
  double edge = top;  // downwards, then back up from the bottom
  for (std::size_t i : order) {
    result[i] = std::max(result[i], edge + heights[i] / 2);
    edge = result[i] + heights[i] / 2;
  }
  edge = bottom;
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    result[*i] = std::min(result[*i], edge - heights[*i] / 2);
    edge = result[*i] - heights[*i] / 2;
  }
  return result;
}

}  // namespace strobe::bench::report
