#include "trace/build/builder.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <string_view>

#include "core/message.h"
#include "cuda/device.h"
#include "jit/host_compiler.h"
#include "jit/process.h"
#include "trace/build/raw_kernel.h"
#include "trace/build/tvm_ffi.h"

namespace strobe::trace {
namespace {

constexpr std::string_view kDependencies[] = {"tvm-ffi", "tvm_ffi", "apache-tvm-ffi", "cuda", "cublas"};

bool mentions(const Solution& solution, std::string_view text) {
  return std::any_of(solution.sources.begin(), solution.sources.end(), [&](const SourceFile& source) {
    return source.content.find(text) != std::string::npos;
  });
}

bool depends_on(const Solution& solution, std::string_view name) {
  return std::find(solution.dependencies.begin(), solution.dependencies.end(), name) !=
         solution.dependencies.end();
}

void require_takeable(const Solution& solution) {
  if (!is_native(solution))
    fail(ErrorKind::kUnsupported, "solution '{}': expected cpp or cuda, got {}", solution.name,
         solution.language);
  if (solution.binding && *solution.binding != "tvm-ffi")
    fail(ErrorKind::kUnsupported, "solution '{}': expected the binding tvm-ffi, got {}", solution.name,
         *solution.binding);
  if (!solution.destination_passing_style)
    fail(ErrorKind::kUnsupported,
         "solution '{}': expected destination_passing_style; one that returns its outputs is not taken",
         solution.name);
  for (const std::string& dependency : solution.dependencies)
    if (std::find(std::begin(kDependencies), std::end(kDependencies), dependency) == std::end(kDependencies))
      fail(ErrorKind::kUnsupported, "solution '{}': its dependency '{}' is none of {}", solution.name,
           dependency, fmt::join(kDependencies, ", "));
}

const SourceFile& entry_file(const Solution& solution) {
  const auto file =
      std::find_if(solution.sources.begin(), solution.sources.end(),
                   [&](const SourceFile& source) { return source.path == solution.entry_file(); });
  if (file == solution.sources.end())
    fail(ErrorKind::kInvalidArgument, "solution '{}': it has no file {}", solution.name,
         solution.entry_file());
  return *file;
}

// The solution's name as the cache's files may have it.
std::string name_in_cache(const Solution& solution) {
  constexpr std::size_t kMostLetters = 60;
  std::string name = "solution_" + solution.name.substr(0, kMostLetters);
  for (char& letter : name) {
    const auto byte = static_cast<unsigned char>(letter);
    letter = byte < 128 && std::isalnum(byte) != 0 ? static_cast<char>(std::tolower(byte)) : '_';
  }
  return name;
}

jit::HostToolchain find_nvcc() {
  std::string file = jit::find_program("nvcc");
  if (file.empty()) file = jit::find_program("/usr/local/cuda/bin/nvcc");
  if (file.empty()) return {.problem = "there is no nvcc; a raw kernel (\"// launch: …\") needs none"};
  const jit::ProcessResult answer = jit::run_process({file, "--version"});
  const std::size_t release = answer.output.find("release ");
  int major = 0, minor = 0;
  if (!answer.succeeded || release == std::string::npos ||
      std::sscanf(answer.output.c_str() + release, "release %d.%d", &major, &minor) != 2)
    return {.problem = fmt::format("{} does not tell its version", file)};
  return {.command = {file}, .version = major * 1000 + minor * 10};
}

jit::HostCompiler& nvcc() {
  static jit::HostCompiler& instance = *new jit::HostCompiler([] {
    jit::HostCompilerSettings settings = jit::HostCompilerSettings::from_environment();
    settings.toolchain = find_nvcc;
    settings.options = {"-std=c++17", "-O3", "-Xcompiler=-fPIC", "-shared"};
    return settings;
  }());
  return instance;
}

std::string architecture_for(const BuildOptions& options) {
  return options.architecture.empty() ? std::string(cuda::name(cuda::architecture_of({DeviceType::kCuda, 0})))
                                      : options.architecture;
}

std::shared_ptr<const NativeFunction> build_library(const Solution& solution, const BuildOptions& options) {
  jit::HostProgram program{.name = name_in_cache(solution)};
  for (const SourceFile& source : solution.sources) program.files.push_back({source.path, source.content});
  // The same sources under another calling convention or entry point are another solution, whose statics are
  // its own.
  program.surroundings = {build_key(solution, {})};
  if (mentions(solution, "tvm/ffi") || mentions(solution, "TVMFFI")) {
    const TvmFfiPackage package = find_tvm_ffi(options.python);
    load_tvm_ffi(package);
    program.options.push_back("-I" + package.include);
    program.surroundings.push_back(package.digest);
  }
  const bool is_cuda = solution.language == "cuda";
  if (is_cuda) {
    program.options.push_back("-arch=" + architecture_for(options));
    program.options.push_back("-lcuda");
    if (depends_on(solution, "cublas")) program.options.push_back("-lcublas");
  }
  const auto library = (is_cuda ? nvcc() : jit::host_compiler()).obtain(program);
  const std::string symbol = fmt::format("__tvm_ffi_{}", solution.entry_symbol());
  try {
    auto* call = library->function<std::remove_pointer_t<NativeFunction::Call>>(symbol.c_str());
    return std::make_shared<const NativeFunction>(call, nullptr, library, library->compiled());
  } catch (const Error&) {
    fail(ErrorKind::kCompile, "solution '{}' exports no {}; TVM_FFI_DLL_EXPORT_TYPED_FUNC({}, …) does",
         solution.name, symbol, solution.entry_symbol());
  }
}

}  // namespace

void NativeFunction::operator()(std::span<const StrobeValue> arguments) const {
  StrobeValue result = strobe_none();
  if (call(arguments.data(), static_cast<std::int32_t>(arguments.size()), &result) != 0)
    throw Error(ErrorKind::kInvalidArgument, take_error());
}

bool is_native(const Solution& solution) { return solution.language == "cpp" || solution.language == "cuda"; }

std::shared_ptr<const NativeFunction> build(const Definition& definition, const Solution& solution,
                                            const BuildOptions& options) {
  require_takeable(solution);
  if (solution.language == "cuda") {
    const SourceFile& file = entry_file(solution);
    if (const std::optional<LaunchLine> launch = launch_line(file.content))
      return build_raw_kernel(definition, solution, file, *launch, options);
  }
  return build_library(solution, options);
}

void set_stream(int device, void* stream) { set_cuda_stream(device, stream); }

}  // namespace strobe::trace
