#include "jit/nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>

#include "core/env.h"
#include "core/message.h"
#include "cuda/toolkit.h"

namespace strobe::jit {
namespace {

using Program = struct ProgramObject*;  // nvrtcProgram
constexpr int kSuccess = 0;
// C++20 and sm_90a came with CUDA 12.0.
constexpr int kLeastVersion = 12000;
constexpr const char* kLoaderNames[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};

}  // namespace

// Our declarations of the documented ABI (NVRTC user guide).
struct Nvrtc::Api {
  int (*version)(int* major, int* minor);
  const char* (*error_string)(int result);
  int (*supported_count)(int* count);
  int (*supported)(int* architectures);
  int (*create)(Program* program, const char* source, const char* name, int headers, const char* const* texts,
                const char* const* names);
  int (*destroy)(Program* program);
  int (*compile)(Program program, int options, const char* const* texts);
  int (*cubin_size)(Program program, std::size_t* bytes);
  int (*cubin)(Program program, char* bytes);
  int (*log_size)(Program program, std::size_t* bytes);
  int (*log)(Program program, char* text);
};

namespace {

// Every field of the table; the name of the first function that is missing, if any.
template <class Api>
const char* resolve(void* library, Api& api) {
  const char* missing = nullptr;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr && missing == nullptr) missing = name;
  };
  find(api.version, "nvrtcVersion");
  find(api.error_string, "nvrtcGetErrorString");
  find(api.supported_count, "nvrtcGetNumSupportedArchs");
  find(api.supported, "nvrtcGetSupportedArchs");
  find(api.create, "nvrtcCreateProgram");
  find(api.destroy, "nvrtcDestroyProgram");
  find(api.compile, "nvrtcCompileProgram");
  find(api.cubin_size, "nvrtcGetCUBINSize");
  find(api.cubin, "nvrtcGetCUBIN");
  find(api.log_size, "nvrtcGetProgramLogSize");
  find(api.log, "nvrtcGetProgramLog");
  return missing;
}

// NVRTC loads libnvrtc-builtins by name; loaded from beside it beforehand, it is found wherever the pair
// lies.
void preload_builtins(const std::string& library) {
  const std::filesystem::path folder = std::filesystem::path(library).parent_path();
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (const std::string name = entry->path().filename();
        name.starts_with("libnvrtc-builtins.so.") &&
        dlopen(entry->path().c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
      dlerror();
}

std::string file_of(const void* function, const std::string& otherwise) {
  Dl_info info{};
  return dladdr(function, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : otherwise;
}

}  // namespace

Nvrtc::Nvrtc(const std::string& path) {
  std::error_code error;
  std::vector<std::string> candidates;
  const auto add_folder = [&](const std::string& folder) {
    status_.searched.push_back(folder);
    const std::vector<std::string> files = cuda::library_files(folder, "libnvrtc.so");
    candidates.insert(candidates.end(), files.begin(), files.end());
  };
  if (!path.empty()) {
    if (std::filesystem::is_directory(path, error)) {
      add_folder(path);
    } else {
      status_.searched.push_back(path);
      candidates.push_back(path);
    }
  } else {
    for (const char* name : kLoaderNames) {
      if (void* loaded = dlopen(name, RTLD_NOW | RTLD_NOLOAD); loaded != nullptr)
        candidates.insert(candidates.begin(), name);
    }
    for (const std::string& folder : cuda::toolkit_folders("cuda_nvrtc")) add_folder(folder);
    status_.searched.push_back("the loader's search path");
    candidates.insert(candidates.end(), std::begin(kLoaderNames), std::end(kLoaderNames));
  }
  std::string reasons;
  for (const std::string& candidate : candidates) {
    const std::string problem = load(candidate);
    if (problem.empty()) return;
    const bool is_loader_name = candidate.find('/') == std::string::npos;
    if (!is_loader_name) reasons += fmt::format("; {}: {}", candidate, problem);
  }
  status_.problem = fmt::format(
      "no usable NVRTC, which compiles CUDA kernels, was found (searched {}{}); install the CUDA toolkit's "
      "NVRTC or "
      "`pip install nvidia-cuda-nvrtc`, or set {} to the library",
      fmt::join(status_.searched, ", "), reasons, env::entry(env::Variable::kNvrtc).name);
}

std::string Nvrtc::load(const std::string& path) {
  if (path.find('/') != std::string::npos) preload_builtins(path);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return dlerror();
  Api api{};
  if (const char* missing = resolve(library, api); missing != nullptr)
    return fmt::format("it has no {}", missing);
  int major = 0, minor = 0;
  if (api.version(&major, &minor) != kSuccess) return "it does not tell its version";
  const int version = major * 1000 + minor * 10;
  if (version < kLeastVersion) return fmt::format("version {}.{} is too old, 12.0 is needed", major, minor);
  int count = 0;
  if (api.supported_count(&count) == kSuccess && count > 0) {
    architectures_.resize(static_cast<std::size_t>(count));
    if (api.supported(architectures_.data()) != kSuccess) architectures_.clear();
  }
  status_.version = version;
  status_.library = file_of(reinterpret_cast<const void*>(api.version), path);
  api_ = std::make_shared<const Api>(api);
  return "";
}

bool Nvrtc::supports(cuda::Architecture architecture) const {
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  const int number = facts.capability_major * 10 + facts.capability_minor;
  return std::find(architectures_.begin(), architectures_.end(), number) != architectures_.end();
}

NvrtcOutput Nvrtc::compile(const NvrtcProgram& job) const {
  if (api_ == nullptr) fail(ErrorKind::kUnsupported, "{}", status_.problem);
  std::vector<const char*> texts, names, options;
  std::vector<std::string> all_options = job.options;
  if (job.include_directory.empty()) {
    for (const Header& header : job.headers) {
      texts.push_back(header.text.data());
      names.push_back(header.name.data());
    }
  } else {
    all_options.push_back("--include-path=" + job.include_directory);
  }
  for (const std::string& option : all_options) options.push_back(option.c_str());
  const auto check = [&](int result, const char* call) {
    if (result != kSuccess)
      fail(ErrorKind::kCompile, "NVRTC: {}: {} ({})", call, api_->error_string(result), status_.library);
  };
  Program program = nullptr;
  check(api_->create(&program, job.source.c_str(), job.name.c_str(), static_cast<int>(texts.size()),
                     texts.data(), names.data()),
        "nvrtcCreateProgram");
  struct Destroy {
    const Api* api;
    Program* program;
    ~Destroy() { api->destroy(program); }
  } destroy{api_.get(), &program};

  NvrtcOutput output;
  const int result = api_->compile(program, static_cast<int>(options.size()), options.data());
  std::size_t bytes = 0;
  check(api_->log_size(program, &bytes), "nvrtcGetProgramLogSize");
  output.log.resize(bytes);
  check(api_->log(program, output.log.data()), "nvrtcGetProgramLog");
  while (!output.log.empty() && (output.log.back() == '\0' || output.log.back() == '\n'))
    output.log.pop_back();
  output.compiled = result == kSuccess;
  if (!output.compiled) {
    if (output.log.empty()) output.log = api_->error_string(result);
    return output;
  }
  check(api_->cubin_size(program, &bytes), "nvrtcGetCUBINSize");
  output.cubin.resize(bytes);
  check(api_->cubin(program, output.cubin.data()), "nvrtcGetCUBIN");
  return output;
}

const Nvrtc& nvrtc() {
  static const Nvrtc& found = *new Nvrtc(env::text(env::Variable::kNvrtc).value_or(""));
  return found;
}

}  // namespace strobe::jit
