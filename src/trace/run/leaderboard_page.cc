#include "trace/run/leaderboard_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "bench/report/format.h"
#include "bench/report/html.h"
#include "bench/report/line_chart.h"
#include "bench/report/page_header.h"
#include "bench/report/result_table.h"
#include "core/message.h"
#include "trace/run/tensor_sets.h"

namespace strobe::trace {
namespace {

using namespace bench::report;

// What one solution did on a machine, by workload.
struct Entry {
  const Solution* solution = nullptr;
  std::map<std::string, const Trace*> traces;

  double speedup() const {  // geometric mean; 0 when one failed
    double sum = 0;
    for (const auto& [uuid, trace] : traces) {
      if (!trace->evaluation->performance) return 0;
      sum += std::log(std::max(trace->evaluation->performance->speedup_factor, 1e-12));
    }
    return traces.empty() ? 0 : std::exp(sum / static_cast<double>(traces.size()));
  }
};

struct Board {
  const Definition* definition = nullptr;
  std::string hardware;
  std::vector<const Workload*> workloads;
  std::vector<Entry> entries;  // best first
};

bool is_better(const Trace& a, const Trace& b) {
  const auto& x = a.evaluation->performance;
  const auto& y = b.evaluation->performance;
  return x && (!y || x->latency_ms < y->latency_ms);
}

std::vector<Board> boards_of(const DataSet& set, const Definition& definition) {
  std::map<std::string, std::map<std::string, Entry>> by_hardware;
  for (const Trace* trace : set.traces_of(definition.name)) {
    const Solution* solution = set.solution(*trace->solution);
    if (solution == nullptr) continue;
    Entry& entry = by_hardware[trace->evaluation->environment.hardware][solution->name];
    entry.solution = solution;
    const Trace*& kept = entry.traces[trace->workload.uuid];
    if (kept == nullptr || !kept->evaluation->performance || is_better(*trace, *kept)) kept = trace;
  }
  std::vector<Board> boards;
  for (auto& [hardware, entries] : by_hardware) {
    Board board{&definition, hardware, {}, {}};
    std::set<std::string> uuids;
    for (auto& [name, entry] : entries) {
      for (const auto& [uuid, trace] : entry.traces)
        if (uuids.insert(uuid).second) board.workloads.push_back(&trace->workload);
      board.entries.push_back(std::move(entry));
    }
    std::stable_sort(board.entries.begin(), board.entries.end(),
                     [](const Entry& a, const Entry& b) { return a.speedup() > b.speedup(); });
    boards.push_back(std::move(board));
  }
  return boards;
}

// The bytes of the tensors, each once; 0 for dtypes that have no bytes here.
double bytes_of(const Definition& definition, const Workload& workload) {
  double bytes = 0;
  try {
    for (const auto* tensors : {&definition.inputs, &definition.outputs})
      for (const Slot& slot : slots_of(*tensors, definition, workload))
        bytes += static_cast<double>(slot.bytes);
  } catch (const Error&) {
    return 0;
  }
  return bytes;
}

double gigabytes_per_second(const Definition& definition, const Trace& trace) {
  return bytes_of(definition, trace.workload) / (trace.evaluation->performance->latency_ms * 1e6);
}

std::string trace_cell(const Trace* trace) {
  if (trace == nullptr) return "<td></td>";
  const Evaluation& evaluation = *trace->evaluation;
  if (!evaluation.performance)
    return fmt::format(
        "<td><span class=\"slower\">{}</span> <span class=\"case\">{}</span></td>", name(evaluation.status),
        escaped(evaluation.log.substr(0, std::min(evaluation.log.find('\n'), std::size_t{160}))));
  return number_cell(
      evaluation.performance->latency_ms, "",
      fmt::format("{} <span class=\"case\">{:.2f}×</span>", milliseconds(evaluation.performance->latency_ms),
                  evaluation.performance->speedup_factor));
}

std::string table_of(const Board& board) {
  std::string head, rows;
  for (const Workload* workload : board.workloads)
    head += element("th", "scope=\"col\" class=\"num\"", escaped(workload->uuid.substr(0, 24)));
  for (const Entry& entry : board.entries) {
    std::string cells = fmt::format(
        "<th scope=\"row\" data-key=\"{0}\"><span class=\"routine\">{1}</span> <span class=\"case\">{2} · "
        "{3}</span></th>",
        escaped(entry.solution->name), breakable(entry.solution->name), escaped(entry.solution->author),
        escaped(entry.solution->language));
    cells +=
        number_cell(entry.speedup(), "", entry.speedup() > 0 ? fmt::format("{:.2f}×", entry.speedup()) : "–");
    for (const Workload* workload : board.workloads) {
      const auto found = entry.traces.find(workload->uuid);
      cells += trace_cell(found == entry.traces.end() ? nullptr : found->second);
    }
    rows += element("tr", "", cells) + "\n";
  }
  return fmt::format(
      "<div class=\"table\" role=\"region\" aria-label=\"Solutions\" tabindex=\"0\">\n<table "
      "class=\"sortable\" "
      "data-noun=\"solutions\">\n<caption>Median time of a call and speed-up over the reference; the mean is "
      "geometric.</caption>\n<thead><tr><th scope=\"col\">solution</th><th scope=\"col\" class=\"num\">mean "
      "speed-up</th>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table>\n</div>\n",
      head, rows);
}

// Times over the workloads' sizes, with what the machine could do.
std::string chart_of(const Board& board, const LeaderboardOptions& options) {
  static constexpr Kind kKinds[] = {{"", "k1", Shape::kCircle},  {"", "k2", Shape::kSquare},
                                    {"", "k3", Shape::kDiamond}, {"", "k4", Shape::kTriangle},
                                    {"", "k5", Shape::kDown},    {"", "k6", Shape::kCross},
                                    {"", "k7", Shape::kPlus},    {"", "k8", Shape::kRing}};
  LineChart chart{
      .title = {}, .x_title = "bytes of the tensors", .y_title = "GB/s", .lines = {}, .y_tick = plain_tick};
  std::size_t number = 0;
  for (const Entry& entry : board.entries) {
    Line line{.label = entry.solution->name, .kind = &kKinds[number++ % std::size(kKinds)], .points = {}};
    for (const auto& [uuid, trace] : entry.traces) {
      const double bytes = bytes_of(*board.definition, trace->workload);
      if (!trace->evaluation->performance || bytes == 0) continue;
      line.points.push_back({.x = fmt::format("{:.0f}", bytes),
                             .y = gigabytes_per_second(*board.definition, *trace),
                             .limit = options.bandwidth,
                             .tip = fmt::format("{}, {}: {}", entry.solution->name, uuid,
                                                milliseconds(trace->evaluation->performance->latency_ms))});
    }
    std::sort(line.points.begin(), line.points.end(),
              [](const LinePoint& a, const LinePoint& b) { return value_before(a.x, b.x); });
    if (!line.points.empty()) chart.lines.push_back(std::move(line));
  }
  if (chart.lines.empty()) return "";
  chart.y_most = std::max(options.bandwidth, most_of(chart.lines));
  return figure("What the solutions move",
                options.bandwidth > 0 ? "The roof is the machine's bandwidth." : "", "",
                {kNarrow, kMedium, kWide}, [&](double width) { return draw_line_chart(chart, width); });
}

}  // namespace

std::string leaderboard_page(const DataSet& set, const LeaderboardOptions& options) {
  const std::string title = "Strobe: solutions of " + set.root().filename().string();
  std::string sections;
  int boards = 0;
  for (const auto& [name, stored] : set.definitions())
    for (const Board& board : boards_of(set, stored.item)) {
      ++boards;
      sections +=
          section(fmt::format("{} on {}", name, board.hardware), chart_of(board, options) + table_of(board));
    }
  if (boards == 0) sections = element("p", "", "No definition has traces yet; strobe trace run adds some.");
  return page(title, page_header(title, fmt::format("{} definitions · {} solutions · {} traces",
                                                    set.definitions().size(), set.solutions().size(),
                                                    set.traces().size())) +
                         sections + page_footer(STROBE_VERSION));
}

}  // namespace strobe::trace
