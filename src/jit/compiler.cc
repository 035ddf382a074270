#include "jit/compiler.h"

#include <chrono>
#include <utility>

#include "core/env.h"
#include "core/message.h"
#include "cuda/driver.h"
#include "jit/sha256.h"
#include "jit/slow_notice.h"

namespace strobe::jit {
namespace {

std::string digest_of(std::span<const Header> headers) {
  Sha256 hash;
  for (const Header& header : headers) hash.add_field(header.name).add_field(header.text);
  return hash.hex();
}

std::vector<std::string> options_for(const Variant& variant, DebugLevel debug) {
  std::vector<std::string> options = {fmt::format("--gpu-architecture={}", cuda::name(variant.architecture)),
                                      "--std=c++20", "--ptxas-options=-v"};
  options.insert(options.end(), variant.source->options.begin(), variant.source->options.end());
  if (debug == DebugLevel::kLines) options.push_back("--generate-line-info");
  if (debug == DebugLevel::kDevice) options.push_back("--device-debug");
  return options;
}

}  // namespace

// What one call of `obtain` works on.
struct Compiler::Job {
  const Variant& variant;
  std::string source;
  std::vector<std::string> options;
  std::string key;
  std::string share;  // calls with equal ones share an outcome: the key, and what the demand allows
};

CompilerSettings CompilerSettings::from_environment() {
  CompilerSettings settings;
  settings.cache_directory = jit::cache_directory();
  settings.may_compile = env::integer(env::Variable::kDisableJit, 0, 1, 0) == 0;
  settings.verbose = env::integer(env::Variable::kJitVerbose, 0, 1, 0) == 1;
  settings.debug = static_cast<DebugLevel>(env::integer(env::Variable::kJitDebug, 0, 2, 0));
  return settings;
}

Compiler::Compiler(CompilerSettings settings)
    : settings_(std::move(settings)),
      headers_digest_(digest_of(settings_.headers)),
      cache_(settings_.cache_directory, *settings_.files, settings_.report) {}

std::string Compiler::source_key(const Variant& variant) const {
  Sha256 hash;
  hash.add_field(headers_digest_).add_field(translation_unit(variant));
  for (const std::string& option : options_for(variant, settings_.debug)) hash.add_field(option);
  return hash.hex().substr(0, kSourceKeyDigits);
}

std::shared_ptr<const Binary> Compiler::obtain(const Variant& variant, const Demand& demand) {
  Job job{variant, translation_unit(variant), options_for(variant, settings_.debug), source_key(variant), ""};
  job.share =
      fmt::format("{} {} {} {}", job.key, demand.this_nvrtc, demand.newest_nvrtc, demand.no_compile.empty());
  return running_.run(job.share, [&] { return find_or_compile(job, demand); });
}

bool Compiler::is_cached(const Variant& variant, const Demand& demand) {
  return find({variant, "", {}, source_key(variant), ""}, demand).has_value();
}

std::optional<Entry> Compiler::find(const Job& job, const Demand& demand) {
  const std::string kernel(job.variant.source->name);
  if (demand.this_nvrtc && settings_.nvrtc().status().problem.empty())
    return cache_.find({kernel, job.key, settings_.nvrtc().status().version});
  // Most often all entries come from one compiler, and the folder need not be listed.
  const int latest = latest_version_.load(std::memory_order_relaxed);
  if (latest != 0 && latest <= demand.newest_nvrtc)
    if (auto entry = cache_.find({kernel, job.key, latest})) return entry;
  for (const int version : cache_.versions(kernel, job.key)) {
    if (version > demand.newest_nvrtc || version == latest) continue;
    if (auto entry = cache_.find({kernel, job.key, version})) {
      latest_version_.store(version, std::memory_order_relaxed);
      return entry;
    }
  }
  return {};
}

std::shared_ptr<const Binary> Compiler::find_or_compile(const Job& job, const Demand& demand) {
  const auto found = [&](Entry entry) {
    if (settings_.verbose)
      settings_.report(
          fmt::format("{}: from the cache ({})", entry.record.description, entry.record.name.stem()));
    return std::make_shared<const Binary>(Binary{std::move(entry), false});
  };
  if (auto entry = find(job, demand)) return found(std::move(*entry));
  const std::string what = describe(job.variant);
  if (!demand.no_compile.empty())
    fail(ErrorKind::kUnsupported, "{} is not in the kernel cache, and {}", what, demand.no_compile);
  if (!settings_.may_compile)
    fail(ErrorKind::kUnsupported,
         "{} is not in the kernel cache {}, and {} forbids to compile it; `strobe warmup "
         "--arch {}` where compiling is allowed, then `strobe cache pack`, brings it here",
         what, cache_.directory(), env::entry(env::Variable::kDisableJit).name,
         cuda::name(job.variant.architecture));
  const Nvrtc& nvrtc = settings_.nvrtc();
  if (!nvrtc.status().problem.empty())
    fail(ErrorKind::kUnsupported, "{} is not in the kernel cache {} and cannot be compiled: {}", what,
         cache_.directory(), nvrtc.status().problem);
  if (!nvrtc.supports(job.variant.architecture))
    fail(ErrorKind::kUnsupported, "{}: NVRTC {} ({}) does not compile for {}; a newer one does", what,
         cuda::version_text(nvrtc.status().version), nvrtc.status().library,
         cuda::name(job.variant.architecture));

  const EntryName name{std::string(job.variant.source->name), job.key, nvrtc.status().version};
  std::optional<Entry> published;
  if (cache_.problem(true).empty()) {
    const CompileLock lock(cache_, name.stem(), settings_.patience, [&] {
      std::string why;
      published = cache_.read(name, why);
      return published.has_value();
    });
    std::string why;
    if (!published && lock.held()) published = cache_.read(name, why);  // between our first look and the lock
    if (published) return found(std::move(*published));
    Entry entry = compile(job);
    (void)cache_.publish(entry);
    return std::make_shared<const Binary>(Binary{std::move(entry), true});
  }
  return std::make_shared<const Binary>(Binary{compile(job), true});
}

Entry Compiler::compile(const Job& job) {
  const Nvrtc& nvrtc = settings_.nvrtc();
  Entry entry;
  EntryRecord& record = entry.record;
  record.name = {std::string(job.variant.source->name), job.key, nvrtc.status().version};
  record.description = describe(job.variant);
  const SlowNotice notice(
      settings_.patience.before_message,
      fmt::format(
          "compiling {} takes more than {} s; it is done once, the result is kept in {}", record.description,
          std::chrono::duration<double>(settings_.patience.before_message).count(), cache_.directory()),
      settings_.report);
  const auto start = std::chrono::steady_clock::now();
  NvrtcOutput output = run_nvrtc(job, record.name);
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!output.compiled) fail_compile(job, record.name, output.log);
  record.architecture = cuda::name(job.variant.architecture);
  record.options = job.options;
  record.facts = read_ptxas_log(output.log);
  record.log = std::move(output.log);
  record.code_bytes = output.cubin.size();
  record.code_sha256 = sha256_hex(output.cubin);
  record.source_sha256 = sha256_hex(job.source);
  entry.code = std::move(output.cubin);
  entry.source = job.source;
  if (settings_.verbose)
    settings_.report(
        fmt::format("{}: compiled in {:.3f} s, {}", record.description, record.seconds, record.facts.text()));
  return entry;
}

// For debuggers, names in the line table are those of kept files.
NvrtcOutput Compiler::run_nvrtc(const Job& job, const EntryName& name) {
  NvrtcProgram program{job.source, name.stem() + ".cu", settings_.headers, "", job.options};
  if (settings_.debug != DebugLevel::kOff) {
    program.include_directory = header_folder();
    if (!program.include_directory.empty()) program.name = cache_.path(program.name);
  }
  return settings_.nvrtc().compile(program);
}

// The headers as files, once per content; empty when they cannot be written.
std::string Compiler::header_folder() {
  if (!cache_.problem(true).empty()) return "";
  const std::string folder = std::string(kHeaderFolderPrefix) + headers_digest_.substr(0, kSourceKeyDigits);
  (void)settings_.files->make_directory(cache_.path(folder), 0700);
  for (const Header& header : settings_.headers) {
    const std::string name = folder + '/' + std::string(header.name);
    for (std::size_t slash = name.find('/', folder.size() + 1); slash != std::string::npos;
         slash = name.find('/', slash + 1))
      (void)settings_.files->make_directory(cache_.path(name.substr(0, slash)), 0700);
    if (const std::string problem = cache_.write(name, std::string(header.text)); !problem.empty()) {
      settings_.report(fmt::format("debug information names no files: {}", problem));
      return "";
    }
  }
  return cache_.path(folder);
}

void Compiler::fail_compile(const Job& job, const EntryName& name, const std::string& log) {
  const std::string kept = "failed-" + name.stem();
  std::string problem = cache_.write(kept + ".cu", job.source);
  if (problem.empty()) problem = cache_.write(kept + ".log", log);
  fail(ErrorKind::kCompile, "{} does not compile (NVRTC {}): {}; {}", describe(job.variant),
       cuda::version_text(name.compiler_version), first_diagnostic(log),
       problem.empty()
           ? fmt::format("the source is kept in {}, the whole log beside it", cache_.path(kept + ".cu"))
           : fmt::format("the source is not kept: {}", problem));
}

Compiler& compiler() {
  static Compiler& instance = *new Compiler(CompilerSettings::from_environment());
  return instance;
}

}  // namespace strobe::jit
