// Scores of solutions and authors.
//
// On a workload a solution's speed-up is that of its fastest passed trace: over the definition's baseline
// solution (the one whose author is "baseline", where there is exactly one and it was measured on that
// workload), else over the reference, as the trace has it. Its score is the mean over all workloads that
// anybody has measured for the definition; 0 when a trace of it failed or a workload lacks one. An author's
// score is the mean, over the definitions of the data set that have traces, of the best of the author's
// solutions.
#pragma once

#include <string>
#include <vector>

#include "trace/data_set.h"

namespace strobe::trace {

struct SolutionScore {
  const Solution* solution = nullptr;
  double score = 0;
  int passed = 0, failed = 0, missing = 0;  // workloads
};
// Best first; of two equal scores the name decides.
std::vector<SolutionScore> score_solutions(const DataSet& set, const Definition& definition);

struct AuthorScore {
  std::string author;
  double score = 0;
  int definitions = 0;  // in which a solution of theirs scores above 0
  int wins = 0;         // in which theirs is the best
};
std::vector<AuthorScore> rank_authors(const DataSet& set);

std::string summary_text(const DataSet& set);
std::string summary_json(const DataSet& set);
std::string ranking_text(const DataSet& set);
std::string ranking_json(const DataSet& set);

}  // namespace strobe::trace
