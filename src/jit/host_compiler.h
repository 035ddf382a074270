// C++ code made at run time by the host's compiler: source and constants become a shared object, which is
// kept in the cache of compiled kernels and loaded.
//
//   const HostProgram program = {.name = "variant", .constants = {{"int", "kHeadDim", "128"}},
//                                .source = "extern \"C\" float scaled(float x) { return x * kHeadDim; }\n"};
//   auto scaled = host_compiler().obtain(program)->function<float(float)>("scaled");
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "jit/cache.h"
#include "jit/compile_lock.h"
#include "jit/shared_work.h"

namespace strobe::jit {

struct HostConstant {
  std::string type, name, value;  // C++ text: "int", "kHeadDim", "128"
};

struct HostFile {
  std::string path, content;  // the path is relative to the folder of the compile
};

// One translation unit: `constexpr <type> <name> = <value>;` for each constant, then the source. Or a folder
// of files instead, of which those whose names end in .cc, .cpp, .cxx, .c or .cu are translation units; the
// folder is where headers are looked for first.
struct HostProgram {
  std::string name;  // of the files in the cache: lower-case letters, digits and '_'
  std::vector<HostConstant> constants = {};
  std::string source = {};
  std::vector<std::string> options = {};  // of the compiler, beyond those that every program gets: "-mavx2"
  std::vector<HostFile> files = {};
  // What else the code depends on, such as versions of headers from elsewhere: part of the key.
  std::vector<std::string> surroundings = {};
};

// "variant(kHeadDim = 128)".
std::string describe(const HostProgram& program);

// A shared object in this process, for as long as the process lives.
class HostLibrary {
 public:
  HostLibrary(void* handle, std::string description, bool compiled)
      : handle_(handle), description_(std::move(description)), compiled_(compiled) {}

  // A function that the program defines as extern "C". Throws Error(kInvalidArgument) when there is none.
  template <class Signature>
  Signature* function(const char* name) const {
    return reinterpret_cast<Signature*>(find(name));
  }
  bool compiled() const { return compiled_; }  // by the call that loaded it, rather than found

 private:
  void* find(const char* name) const;
  void* handle_;
  std::string description_;
  bool compiled_;
};

// A C++ compiler of this machine.
struct HostToolchain {
  std::vector<std::string> command;  // CXX, split at blanks, or the first of c++, g++, clang++ that is there
  int version = 0;                   // 12020 for 12.2
  std::string problem;               // why there is none; empty when there is one
};
HostToolchain find_host_toolchain();  // starts it, to ask for its version

struct HostCompilerSettings {
  std::string cache_directory;
  bool may_compile = true;  // STROBE_DISABLE_JIT unset
  bool verbose = false;     // STROBE_JIT_VERBOSE
  Patience patience;
  FileSystem* files = &file_system();
  Report report = report_to_stderr;
  HostToolchain (*toolchain)() = find_host_toolchain;
  std::vector<std::string> options = {"-std=c++20", "-O3", "-fPIC", "-shared"};  // of every compile

  static HostCompilerSettings from_environment();
};

class HostCompiler {
 public:
  explicit HostCompiler(HostCompilerSettings settings);

  Cache& cache() { return cache_; }

  // The program's code, loaded: from the cache, whatever compiler made it, else compiled and put there.
  // Threads that ask for one program at once share its compile. Errors: kInvalidArgument (a name that no file
  // can have), kUnsupported (no compiler, or it may not be used), kCompile with name, constants, the first
  // diagnostic and the path of the kept source.
  std::shared_ptr<const HostLibrary> obtain(const HostProgram& program);

 private:
  struct Job;
  std::shared_ptr<const HostLibrary> find(const Job& job);
  std::shared_ptr<const HostLibrary> find_or_compile(const Job& job);
  std::shared_ptr<const HostLibrary> compile(const Job& job);
  [[noreturn]] void fail_compile(const Job& job, const std::string& problem, const std::string& log);

  const HostCompilerSettings settings_;
  Cache cache_;
  SharedWork<HostLibrary> running_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const HostLibrary>> loaded_;  // by key
};

// The process's, by the environment.
HostCompiler& host_compiler();

}  // namespace strobe::jit
