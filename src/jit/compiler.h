// Kernels as binaries: from the cache, or compiled and put there.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "jit/cache.h"
#include "jit/compile_lock.h"
#include "jit/kernel_source.h"
#include "jit/nvrtc.h"
#include "jit/shared_work.h"

namespace strobe::jit {

// Folders of kept headers in the cache (STROBE_JIT_DEBUG) begin so.
inline constexpr std::string_view kHeaderFolderPrefix = "headers-";

enum class DebugLevel { kOff, kLines, kDevice };  // STROBE_JIT_DEBUG

struct CompilerSettings {
  std::string cache_directory;
  bool may_compile = true;  // STROBE_DISABLE_JIT unset
  bool verbose = false;     // STROBE_JIT_VERBOSE
  DebugLevel debug = DebugLevel::kOff;
  Patience patience;
  FileSystem* files = &file_system();
  Report report = report_to_stderr;
  std::span<const Header> headers = embedded_headers();
  const Nvrtc& (*nvrtc)() = jit::nvrtc;  // called when a compiler is needed

  static CompilerSettings from_environment();
};

struct Binary {
  Entry entry;
  bool compiled = false;  // by this call, rather than found
};

struct Demand {
  // Set: a kernel compiled by another NVRTC will not do. Otherwise any will that is not newer than
  // `newest_nvrtc`.
  bool this_nvrtc = false;
  int newest_nvrtc = 99000;
  // Why nothing may be compiled now, and what to do; empty when it may.
  std::string no_compile;
};

class Compiler {
 public:
  explicit Compiler(CompilerSettings settings);

  Cache& cache() { return cache_; }
  const CompilerSettings& settings() const { return settings_; }

  // The kernel's code. Threads that ask for one kernel at once share its compile. Errors: kUnsupported (may
  // not compile, no NVRTC, or one too old for the architecture), kCompile with kernel, constants,
  // architecture, the first diagnostic and the path of the kept source.
  std::shared_ptr<const Binary> obtain(const Variant& variant, const Demand& demand = {});

  // Whether `obtain` with this demand would find it in the cache.
  bool is_cached(const Variant& variant, const Demand& demand = {});

  // The hash of headers, translation unit, options and architecture.
  std::string source_key(const Variant& variant) const;

 private:
  struct Job;
  std::shared_ptr<const Binary> find_or_compile(const Job& job, const Demand& demand);
  std::optional<Entry> find(const Job& job, const Demand& demand);
  Entry compile(const Job& job);
  NvrtcOutput run_nvrtc(const Job& job, const EntryName& name);
  [[noreturn]] void fail_compile(const Job& job, const EntryName& name, const std::string& log);
  std::string header_folder();

  const CompilerSettings settings_;
  const std::string headers_digest_;
  Cache cache_;
  SharedWork<Binary> running_;          // by Job::share
  std::atomic<int> latest_version_{0};  // NVRTC version of the entry found last
};

// The process's compiler, by the environment.
Compiler& compiler();

}  // namespace strobe::jit
