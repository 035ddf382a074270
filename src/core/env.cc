#include "core/env.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>

#include "core/message.h"

namespace strobe::env {
namespace {

constexpr Entry kTable[] = {
    {Variable::kApplyOnMiss, "STROBE_APPLY_ON_MISS", "fallback_only, nearest, use_def_best", "fallback_only",
     "what apply does with sizes that nobody has measured"},
    {Variable::kApplyStatistics, "STROBE_APPLY_STATISTICS", "a file (%i becomes the process id)", "none",
     "where apply writes at the end of the process what it did, for `strobe trace explain`"},
    {Variable::kCacheDir, "STROBE_CACHE_DIR", "a directory that only this user may write",
     "strobe under XDG_CACHE_HOME or ~/.cache", "where compiled CUDA kernels are kept"},
    {Variable::kCheckIndices, "STROBE_CHECK_INDICES", "0, 1", "0",
     "1: runs of attention that was planned on a GPU wait, and look there for page numbers that the cache "
     "does "
     "not have and for requests whose numbers contradict each other; captured runs do not"},
    {Variable::kCpuIsa, "STROBE_CPU_ISA", "portable, avx2, avx512, avx512_bf16; neon, neon_bf16",
     "the best level of this machine", "forces an instruction-set level of the CPU backend"},
    {Variable::kCublasLt, "STROBE_CUBLASLT", "the library file, a folder that holds it, or none",
     "searched for where CUDA is installed", "with which `strobe bench` measures a GPU's matrix peaks"},
    {Variable::kCudaArchList, "STROBE_CUDA_ARCH_LIST",
     "architectures separated by commas, such as sm_80,sm_90a", "those of the devices here, or all",
     "what `strobe warmup` compiles for without --arch"},
    {Variable::kCupti, "STROBE_CUPTI", "the library file, a folder that holds it, or none",
     "searched for where CUDA is installed", "with which `strobe bench --timing cupti` times kernels"},
    {Variable::kDatasetPath, "STROBE_DATASET_PATH", "a folder", "none",
     "the data set whose solutions apply runs, and to which tracing adds workloads", "FIB_DATASET_PATH"},
    {Variable::kDisableJit, "STROBE_DISABLE_JIT", "0, 1", "0",
     "1: never compile; a kernel that the cache does not hold is an error that names it"},
    {Variable::kDisableSm90, "STROBE_DISABLE_SM90", "0, 1", "0",
     "1: Hopper runs the generic kernels (backend cuda/sm80) instead of its own"},
    {Variable::kDumpDir, "STROBE_DUMP_DIR", "a folder, made when it is not there", "strobe_dumps",
     "where the call log keeps calls at level 10, for `strobe replay`"},
    {Variable::kDumpExclude, "STROBE_DUMP_EXCLUDE", "patterns of operator names separated by commas: *norm*",
     "none", "operators whose calls are not dumped"},
    {Variable::kDumpInclude, "STROBE_DUMP_INCLUDE", "patterns of operator names separated by commas: *norm*",
     "all", "operators whose calls are dumped"},
    {Variable::kDumpMaxCount, "STROBE_DUMP_MAX_COUNT", "0 to 1000000000", "1000",
     "calls that a process dumps at most"},
    {Variable::kDumpMaxSizeGb, "STROBE_DUMP_MAX_SIZE_GB", "a number of at least 0", "20",
     "gigabytes that a process dumps at most"},
    {Variable::kEnableApply, "STROBE_ENABLE_APPLY", "0, 1", "0",
     "1: `import strobe` routes its functions, and FlashInfer's, to the solutions of the data set",
     "FIB_ENABLE_APPLY"},
    {Variable::kEnableTracing, "STROBE_ENABLE_TRACING", "0, 1", "0",
     "1: `import strobe` records calls of its functions, and of FlashInfer's, as workloads",
     "FIB_ENABLE_TRACING"},
    {Variable::kJitDebug, "STROBE_JIT_DEBUG", "0, 1, 2", "0",
     "kernels for cuda-gdb, compute-sanitizer and profilers: 1 with line numbers and kept sources; 2 also "
     "unoptimised, with device debug information"},
    {Variable::kJitVerbose, "STROBE_JIT_VERBOSE", "0, 1", "0",
     "1: one line on stderr for every kernel that is compiled or loaded"},
    {Variable::kLogDest, "STROBE_LOGDEST", "stdout, stderr or a file (appended; %i becomes the process id)",
     "stdout", "where the call log goes"},
    {Variable::kLogLevel, "STROBE_LOGLEVEL", "0, 1, 3, 5, 10", "0",
     "call log: 0 off; 1 names; 3 also shapes, dtypes, strides, devices, attributes; 5 also minimum, "
     "maximum, mean, NaN and Inf counts; 10 also keeps inputs and outputs in STROBE_DUMP_DIR"},
    {Variable::kNumThreads, "STROBE_NUM_THREADS", "1 to 1024", "the CPUs this process may use",
     "threads of the CPU backend"},
    {Variable::kNvrtc, "STROBE_NVRTC", "the library file, or a folder that holds it",
     "searched for; see `strobe doctor`", "which NVRTC (the CUDA run-time compiler) is used"},
    {Variable::kPython, "STROBE_PYTHON", "a program, or its path", "python3",
     "the interpreter with which `strobe trace run` runs Python"},
    {Variable::kSpinUs, "STROBE_SPIN_US", "0 to 1000000", "100",
     "microseconds that an idle worker of the CPU backend polls before it sleeps"},
};

}  // namespace

std::span<const Entry> table() { return kTable; }

const Entry& entry(Variable variable) { return kTable[static_cast<std::size_t>(variable)]; }

std::optional<std::string> text(Variable variable) {
  for (const std::string_view name : {entry(variable).name, entry(variable).also}) {
    const char* value = name.empty() ? nullptr : std::getenv(std::string(name).c_str());
    if (value != nullptr && *value != '\0') return value;
  }
  return std::nullopt;
}

int integer(Variable variable, int low, int high, int fallback) {
  const std::optional<std::string> value = text(variable);
  if (!value) return fallback;
  int number = 0;
  const char* end = value->data() + value->size();
  const auto result = std::from_chars(value->data(), end, number);
  if (result.ec != std::errc{} || result.ptr != end || number < low || number > high)
    fail(ErrorKind::kInvalidArgument, "{}: expected an integer in [{}, {}], got '{}'", entry(variable).name,
         low, high, *value);
  return number;
}

std::vector<std::string> unknown() {
  std::vector<std::string> names;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    const auto is_name = [&](const Entry& known) { return known.name == name; };
    if (name.starts_with("STROBE_") && std::none_of(std::begin(kTable), std::end(kTable), is_name))
      names.emplace_back(name);
  }
  return names;
}

}  // namespace strobe::env
