// Every STROBE_* environment variable, in one table.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strobe::env {

enum class Variable {
  kApplyOnMiss,
  kApplyStatistics,
  kCacheDir,
  kCheckIndices,
  kCpuIsa,
  kCublasLt,
  kCudaArchList,
  kCupti,
  kDatasetPath,
  kDisableJit,
  kDisableSm90,
  kDumpDir,
  kDumpExclude,
  kDumpInclude,
  kDumpMaxCount,
  kDumpMaxSizeGb,
  kEnableApply,
  kEnableTracing,
  kJitDebug,
  kJitVerbose,
  kLogDest,
  kLogLevel,
  kNumThreads,
  kNvrtc,
  kPython,
  kSpinUs
};

struct Entry {
  Variable variable;
  std::string_view name;
  std::string_view values;         // what may stand there
  std::string_view default_value;  // in words
  std::string_view meaning;
  std::string_view also = {};  // FlashInfer-Bench's name for it, which counts where ours is not set
};

// The table, in the order of the enumerators; `strobe doctor` prints it.
std::span<const Entry> table();
const Entry& entry(Variable variable);

// The variable's text now, or that of its other name; nothing when unset or empty.
std::optional<std::string> text(Variable variable);

// The variable as an integer in [low, high], or `fallback` when unset; Error(kInvalidArgument) names
// variable, range and finding.
int integer(Variable variable, int low, int high, int fallback);

// STROBE_* variables of this process that the table does not know: likely misspelt.
std::vector<std::string> unknown();

}  // namespace strobe::env
