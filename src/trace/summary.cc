#include "trace/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "trace/json_text.h"

namespace strobe::trace {
namespace {

struct Measured {
  double latency_ms = std::numeric_limits<double>::infinity();
  double speedup = 0;  // over the reference, of the fastest trace
  bool failed = false;
};
// By solution and uuid of the workload.
using Measurements = std::map<std::string, std::map<std::string, Measured>>;

Measurements measurements_of(const DataSet& set, const Definition& definition) {
  Measurements result;
  for (const Trace* trace : set.traces_of(definition.name)) {
    Measured& measured = result[*trace->solution][trace->workload.uuid];
    if (trace->evaluation->status != Status::kPassed) {
      measured.failed = true;
    } else if (const Performance& performance = *trace->evaluation->performance;
               performance.latency_ms < measured.latency_ms) {
      measured.latency_ms = performance.latency_ms;
      measured.speedup = performance.speedup_factor;
    }
  }
  return result;
}

// The only solution of the author "baseline"; null when there is none or more than one.
const Solution* baseline_of(const std::vector<const Solution*>& solutions) {
  const Solution* baseline = nullptr;
  for (const Solution* solution : solutions)
    if (solution->author == "baseline") {
      if (baseline != nullptr) return nullptr;
      baseline = solution;
    }
  return baseline;
}

double speedup(const Measured& measured, const std::string& uuid,
               const std::map<std::string, Measured>* baseline) {
  if (baseline == nullptr) return measured.speedup;
  const auto other = baseline->find(uuid);
  const bool known = other != baseline->end() && std::isfinite(other->second.latency_ms);
  return known ? other->second.latency_ms / measured.latency_ms : measured.speedup;
}

Json score_json(const SolutionScore& score) {
  return {{"solution", score.solution->name}, {"author", score.solution->author}, {"score", score.score},
          {"passed", score.passed},           {"failed", score.failed},           {"missing", score.missing}};
}

}  // namespace

std::vector<SolutionScore> score_solutions(const DataSet& set, const Definition& definition) {
  const std::vector<const Solution*> solutions = set.solutions_of(definition.name);
  const Measurements measurements = measurements_of(set, definition);
  std::set<std::string> uuids;
  for (const auto& [solution, by_workload] : measurements)
    for (const auto& [uuid, measured] : by_workload) uuids.insert(uuid);
  const Solution* baseline = baseline_of(solutions);
  const auto baseline_times = baseline == nullptr ? measurements.end() : measurements.find(baseline->name);
  std::vector<SolutionScore> scores;
  for (const Solution* solution : solutions) {
    SolutionScore score{.solution = solution};
    const auto own = measurements.find(solution->name);
    for (const std::string& uuid : uuids) {
      const Measured* measured = nullptr;
      if (own != measurements.end())
        if (const auto found = own->second.find(uuid); found != own->second.end()) measured = &found->second;
      if (measured == nullptr) {
        ++score.missing;
      } else if (measured->failed) {
        ++score.failed;
      } else {
        ++score.passed;
        score.score += speedup(*measured, uuid,
                               baseline_times == measurements.end() ? nullptr : &baseline_times->second);
      }
    }
    score.score = score.failed + score.missing > 0 || uuids.empty()
                      ? 0
                      : score.score / static_cast<double>(uuids.size());
    scores.push_back(score);
  }
  std::stable_sort(scores.begin(), scores.end(),
                   [](const SolutionScore& a, const SolutionScore& b) { return a.score > b.score; });
  return scores;
}

std::vector<AuthorScore> rank_authors(const DataSet& set) {
  std::map<std::string, AuthorScore> authors;
  int definitions = 0;
  for (const auto& [name, definition] : set.definitions()) {
    if (set.traces_of(name).empty()) continue;
    ++definitions;
    std::set<std::string> counted;
    for (const SolutionScore& score : score_solutions(set, definition.item)) {
      AuthorScore& author = authors[score.solution->author];
      const bool is_best_of_all = counted.empty() && score.score > 0;
      if (!counted.insert(score.solution->author).second || score.score == 0) continue;
      author.score += score.score;
      ++author.definitions;
      author.wins += is_best_of_all ? 1 : 0;
    }
  }
  std::vector<AuthorScore> result;
  for (auto& [name, author] : authors) {
    author.author = name;
    author.score /= definitions;
    result.push_back(author);
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const AuthorScore& a, const AuthorScore& b) { return a.score > b.score; });
  return result;
}

std::string summary_text(const DataSet& set) {
  std::string text;
  for (const auto& [name, definition] : set.definitions()) {
    const std::vector<SolutionScore> scores = score_solutions(set, definition.item);
    text += fmt::format("{} ({}): {} workloads, {} solutions, {} traces\n", name, definition.item.op_type,
                        set.workloads_of(name).size(), scores.size(), set.traces_of(name).size());
    for (const SolutionScore& score : scores)
      text += fmt::format("  {:>8} {} by {}: {} passed, {} failed, {} missing\n",
                          score.score > 0 ? fmt::format("{:.2f}x", score.score) : "-", score.solution->name,
                          score.solution->author, score.passed, score.failed, score.missing);
  }
  return text + fmt::format("{} definitions, {} solutions, {} workloads, {} traces\n",
                            set.definitions().size(), set.solutions().size(), set.workloads().size(),
                            set.traces().size());
}

std::string summary_json(const DataSet& set) {
  Json definitions = Json::object();
  for (const auto& [name, definition] : set.definitions()) {
    Json solutions = Json::array();
    for (const SolutionScore& score : score_solutions(set, definition.item))
      solutions.push_back(score_json(score));
    definitions[name] = {{"op_type", definition.item.op_type},
                         {"workloads", set.workloads_of(name).size()},
                         {"traces", set.traces_of(name).size()},
                         {"solutions", solutions}};
  }
  return indented({{"definitions", definitions}});
}

std::string ranking_text(const DataSet& set) {
  std::string text;
  for (const AuthorScore& author : rank_authors(set))
    text += fmt::format("{:>8.2f}x  {}: {} definitions, best in {}\n", author.score, author.author,
                        author.definitions, author.wins);
  return text.empty() ? "no traces\n" : text;
}

std::string ranking_json(const DataSet& set) {
  Json authors = Json::array();
  for (const AuthorScore& author : rank_authors(set))
    authors.push_back({{"author", author.author},
                       {"score", author.score},
                       {"definitions", author.definitions},
                       {"wins", author.wins}});
  return indented({{"authors", authors}});
}

}  // namespace strobe::trace
