#include "jit/host_compiler.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "core/env.h"
#include "core/message.h"
#include "cuda/driver.h"
#include "jit/process.h"
#include "jit/ptxas_log.h"
#include "jit/sha256.h"
#include "jit/slow_notice.h"
#include "jit/work_folder.h"

namespace strobe::jit {
namespace {

constexpr const char* kPrograms[] = {"c++", "g++", "clang++"};
constexpr std::string_view kUnitEndings[] = {".cc", ".cpp", ".cxx", ".c", ".cu"};
#if defined(__x86_64__)
constexpr std::string_view kArchitecture = "x86-64";
#elif defined(__aarch64__)
constexpr std::string_view kArchitecture = "aarch64";
#endif

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

// 12020 for the first "12.2" in a text, as in "g++ (Debian 12.2.0-14) 12.2.0"; 0 when there is none.
int version_in(const std::string& text) {
  for (std::size_t at = text.find_first_of("0123456789"); at != std::string::npos;
       at = text.find_first_of("0123456789", at)) {
    const std::size_t end = std::min(text.find_first_not_of("0123456789", at), text.size());
    const int major = std::atoi(text.substr(at, end - at).c_str());
    if (end + 1 < text.size() && text[end] == '.' && std::isdigit(static_cast<unsigned char>(text[end + 1])))
      return major * 1000 + std::min(std::atoi(text.c_str() + end + 1), 99) * 10;
    at = end;
  }
  return 0;
}

std::string translation_unit(const HostProgram& program) {
  std::string text;
  for (const HostConstant& constant : program.constants)
    text += fmt::format("constexpr {} {} = {};\n", constant.type, constant.name, constant.value);
  text += program.source;
  for (const HostFile& file : program.files) text += fmt::format("// {}\n{}\n", file.path, file.content);
  return text;
}

bool is_unit(const HostFile& file) {
  return std::any_of(std::begin(kUnitEndings), std::end(kUnitEndings),
                     [&](std::string_view ending) { return file.path.ends_with(ending); });
}

// Writes what is to be compiled, and adds to the compiler's arguments.
void write_sources(const HostProgram& program, const std::string& unit, const WorkFolder& folder,
                   std::vector<std::string>& argv) {
  if (program.files.empty()) {
    argv.push_back(folder.path(program.name + ".cc"));
    std::ofstream(argv.back(), std::ios::binary) << unit;
    return;
  }
  const std::filesystem::path root = folder.path("sources");
  argv.push_back("-I" + root.string());
  for (const HostFile& file : program.files) {
    const std::filesystem::path path = root / file.path;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << file.content;
    if (is_unit(file)) argv.push_back(path.string());
  }
}

}  // namespace

struct HostCompiler::Job {
  const HostProgram& program;
  std::string source;
  std::vector<std::string> options;
  std::string key;

  Job(const HostProgram& program, std::vector<std::string> common_options)
      : program(program), source(translation_unit(program)), options(std::move(common_options)) {
    options.insert(options.end(), program.options.begin(), program.options.end());
    Sha256 hash;
    hash.add_field(kArchitecture).add_field(source);
    for (const std::string& option : options) hash.add_field(option);
    for (const HostFile& file : program.files) hash.add_field(file.path).add_field(file.content);
    for (const std::string& text : program.surroundings) hash.add_field(text);
    key = hash.hex().substr(0, kSourceKeyDigits);
  }
  EntryName name(int version) const { return {program.name, key, version, true}; }
};

std::string describe(const HostProgram& program) {
  std::string constants;
  for (const HostConstant& constant : program.constants)
    constants += fmt::format("{}{} = {}", constants.empty() ? "" : ", ", constant.name, constant.value);
  return fmt::format("{}({})", program.name, constants);
}

void* HostLibrary::find(const char* name) const {
  void* symbol = ::dlsym(handle_, name);
  if (symbol == nullptr)
    fail(ErrorKind::kInvalidArgument, "{} defines no extern \"C\" function {}", description_, name);
  return symbol;
}

HostToolchain find_host_toolchain() {
  HostToolchain found;
  const char* chosen = std::getenv("CXX");
  if (chosen != nullptr) found.command = words_of(chosen);
  if (found.command.empty())
    for (const char* program : kPrograms)
      if (found.command.empty() && !find_program(program).empty()) found.command = {program};
  if (found.command.empty()) {
    found.problem = fmt::format(
        "no C++ compiler was found: CXX is not set, and PATH has none of {}; install g++, or "
        "set CXX to a compiler",
        fmt::join(kPrograms, ", "));
    return found;
  }
  std::vector<std::string> question = found.command;
  question.push_back("--version");
  const ProcessResult answer = run_process(question);
  found.version = version_in(answer.output.substr(0, answer.output.find('\n')));
  const char* origin = chosen != nullptr ? "CXX" : "PATH";
  if (!answer.succeeded)
    found.problem = fmt::format("the C++ compiler '{}' (from {}) does not run: {}",
                                fmt::join(found.command, " "), origin, answer.problem);
  else if (found.version == 0)
    found.problem = fmt::format("the C++ compiler '{}' (from {}) does not tell its version",
                                fmt::join(found.command, " "), origin);
  return found;
}

HostCompilerSettings HostCompilerSettings::from_environment() {
  HostCompilerSettings settings;
  settings.cache_directory = jit::cache_directory();
  settings.may_compile = env::integer(env::Variable::kDisableJit, 0, 1, 0) == 0;
  settings.verbose = env::integer(env::Variable::kJitVerbose, 0, 1, 0) == 1;
  return settings;
}

HostCompiler::HostCompiler(HostCompilerSettings settings)
    : settings_(std::move(settings)), cache_(settings_.cache_directory, *settings_.files, settings_.report) {}

std::shared_ptr<const HostLibrary> HostCompiler::obtain(const HostProgram& program) {
  const Job job(program, settings_.options);
  if (!parse_stem(job.name(1000).stem()))
    fail(ErrorKind::kInvalidArgument,
         "a program for the host's compiler: expected a name of lower-case letters, digits and '_', got '{}'",
         program.name);
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = loaded_.find(job.key); found != loaded_.end()) return found->second;
  }
  return running_.run(job.key, [&] {
    auto library = find_or_compile(job);
    const std::lock_guard lock(mutex_);
    return loaded_.emplace(job.key, std::move(library)).first->second;
  });
}

// Null when there is none that can be loaded, such as one of a newer compiler whose library is not here.
std::shared_ptr<const HostLibrary> HostCompiler::find(const Job& job) {
  for (const int version : cache_.versions(job.program.name, job.key, true)) {
    const std::optional<Entry> entry = cache_.find(job.name(version));
    if (!entry) continue;
    const std::string file = cache_.path(job.name(version).stem() + ".so");
    void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) {
      if (settings_.verbose) settings_.report(fmt::format("{}: from the cache", describe(job.program)));
      return std::make_shared<const HostLibrary>(handle, describe(job.program), false);
    }
    settings_.report(fmt::format("{} is not used: {}", file, ::dlerror()));
  }
  return nullptr;
}

std::shared_ptr<const HostLibrary> HostCompiler::find_or_compile(const Job& job) {
  if (auto found = find(job)) return found;
  if (!settings_.may_compile)
    fail(ErrorKind::kUnsupported, "{} is not in the kernel cache {}, and {} forbids to compile it",
         describe(job.program), cache_.directory(), env::entry(env::Variable::kDisableJit).name);
  if (!cache_.problem(true).empty()) return compile(job);
  std::shared_ptr<const HostLibrary> published;
  const CompileLock lock(cache_, job.name(1000).stem(), settings_.patience,
                         [&] { return (published = find(job)) != nullptr; });
  if (!published && lock.held()) published = find(job);  // between our first look and the lock
  return published ? published : compile(job);
}

std::shared_ptr<const HostLibrary> HostCompiler::compile(const Job& job) {
  const HostToolchain toolchain = settings_.toolchain();
  const std::string what = describe(job.program);
  if (!toolchain.problem.empty())
    fail(ErrorKind::kUnsupported, "{} is not in the kernel cache {} and cannot be compiled: {}", what,
         cache_.directory(), toolchain.problem);
  const SlowNotice notice(settings_.patience.before_message,
                          fmt::format("compiling {} takes long; it is done once, the result is kept in {}",
                                      what, cache_.directory()),
                          settings_.report);
  const WorkFolder folder;
  const std::string code = folder.path("code.so");
  std::vector<std::string> argv = toolchain.command;
  argv.insert(argv.end(), {"-o", code});
  write_sources(job.program, job.source, folder, argv);
  // Behind the sources: libraries among them are linked for what the sources lack.
  argv.insert(argv.end(), job.options.begin(), job.options.end());
  const auto start = std::chrono::steady_clock::now();
  ProcessResult result = run_process(argv);
  Entry entry{
      .record = {.name = job.name(toolchain.version),
                 .description = what,
                 .architecture = std::string(kArchitecture),
                 .options = job.options,
                 .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()},
      .source = job.source};
  for (const std::string& prefix : {folder.path("sources/"), folder.path("")})
    for (std::size_t at; (at = result.output.find(prefix)) != std::string::npos;)
      result.output.erase(at, prefix.size());
  if (!result.succeeded) fail_compile(job, result.problem, result.output);
  if (const int error = settings_.files->read(code, entry.code); error != 0)
    fail_compile(job, fmt::format("its output cannot be read: {}", std::strerror(error)), result.output);
  entry.record.log = result.output;
  entry.record.code_bytes = entry.code.size();
  entry.record.code_sha256 = sha256_hex(entry.code);
  entry.record.source_sha256 = sha256_hex(job.source);
  const bool kept = cache_.publish(entry).empty();
  const std::string file = kept ? cache_.path(entry.record.name.stem() + ".so") : code;
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) fail(ErrorKind::kCompile, "{} does not load: {}", what, ::dlerror());
  if (settings_.verbose)
    settings_.report(fmt::format("{}: compiled in {:.3f} s by {}", what, entry.record.seconds,
                                 fmt::join(toolchain.command, " ")));
  return std::make_shared<const HostLibrary>(handle, what, true);
}

void HostCompiler::fail_compile(const Job& job, const std::string& problem, const std::string& log) {
  const std::string kept = "failed-" + job.program.name + "-" + job.key;
  std::string unkept = cache_.write(kept + ".cc", job.source);
  if (unkept.empty()) unkept = cache_.write(kept + ".log", log);
  const std::string diagnostic = first_diagnostic(log);
  fail(ErrorKind::kCompile, "{} does not compile: {}; {}", describe(job.program),
       diagnostic.empty() ? "the compiler says nothing, and " + problem : diagnostic,
       unkept.empty()
           ? fmt::format("the source is kept in {}, the whole log beside it", cache_.path(kept + ".cc"))
           : fmt::format("the source is not kept: {}", unkept));
}

HostCompiler& host_compiler() {
  static HostCompiler& instance = *new HostCompiler(HostCompilerSettings::from_environment());
  return instance;
}

}  // namespace strobe::jit
