// Holds a data set against the schema and its own parts against one another.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trace/model.h"

namespace strobe::trace {

enum class Level : std::uint8_t { kInfo, kWarning, kError };

struct Message {
  Level level;
  std::string text;
};

enum class Check : std::uint8_t { kLayout, kDefinition, kWorkload, kSolution, kTrace, kBaseline };
inline constexpr int kCheckCount = 6;
std::string_view name(Check check);  // "layout", …
// Throws Error(kInvalidArgument) that lists the names.
Check parse_check(std::string_view text);

struct DefinitionReport {
  std::string name;
  std::vector<Message> messages[kCheckCount];

  Level status(Check check) const;
  Level status() const;  // the worst
};

struct ValidationOptions {
  std::string data_set;
  std::vector<Check> checks;                       // empty: all
  std::vector<std::string> op_types, definitions;  // empty: all
  Dialect dialect = Dialect::kBench;

  bool has(Check check) const;
};

// One report a definition that a file's content or its place names, in the order of the names. What it finds:
//
//   layout      files that are not where the schema's layout has them
//   definition  files that do not parse; axes that no tensor has; two of one name
//   workload    axes missing, unknown or 0; inputs missing or unknown; a scalar for a tensor and the reverse;
//   tensors whose
//               file or key is missing, is a Git-LFS pointer, or has another shape or dtype; constraints that
//               do not hold
//   solution    files that do not parse; an unknown definition; an entry file of another language; equal
//   contents trace       lines that do not parse; unknown solutions and workloads; other axes than the
//   workload's; errors
//               or times that are not finite where it passed
//   baseline    not exactly one solution of the author "baseline"
//
// Throws Error(kIo) when the folder cannot be read at all.
std::vector<DefinitionReport> validate(const ValidationOptions& options);

std::string text_report(const std::vector<DefinitionReport>& reports);
// {"config": {…}, "definitions": {name: {"status": …, "layout": {"status": …, "messages": […]} or null, …}}}
std::string json_report(const std::vector<DefinitionReport>& reports, const ValidationOptions& options);

}  // namespace strobe::trace
