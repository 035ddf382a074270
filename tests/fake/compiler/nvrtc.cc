// A library with NVRTC's interface that compiles CUDA source for the CPU: its "cubin" is a shared library for
// the driver of tests/fake/driver. The host's compiler does the work (host_compiler.h), with the words of
// CUDA from tests/fake/device.
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "front_end.h"
#include "host_compiler.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

// Results, by the NVRTC user guide.
constexpr int kSuccess = 0, kInvalidOption = 5, kCompilation = 6, kInternalError = 11;
constexpr int kArchitectures[] = {80, 86, 89, 90, 100, 120};

struct Options {
  int capability = 0;
  std::vector<std::string> for_host;
  std::string unknown;
};

Options read_options(int count, const char* const* texts) {
  Options options;
  const auto value_of = [](const std::string& text) { return text.substr(text.find('=') + 1); };
  for (int i = 0; i < count; ++i) {
    const std::string text = texts[i];
    if (text.starts_with("--gpu-architecture=sm_"))
      options.capability = std::atoi(value_of(text).c_str() + 3);
    else if (text.starts_with("--std="))
      options.for_host.push_back("-std=" + value_of(text));
    else if (text.starts_with("--include-path="))
      options.for_host.push_back("-I" + value_of(text));
    else if (text == "--generate-line-info")
      options.for_host.push_back("-g");
    else if (text == "--device-debug")
      options.for_host.insert(options.for_host.end(), {"-g", "-O0"});
    else if (text != "--ptxas-options=-v" && text != "--device-as-default-execution-space")
      options.unknown = text;
  }
  return options;
}

// The thread sanitizer's calls, without its library: the prelude has them. Symbols that the loader would
// merge over modules (unique ones) would let kernels share their shared memory.
constexpr const char* kHostOptions[] = {"-w",
                                        "-O1",
                                        "-fPIC",
                                        "-shared",
                                        "-s",
                                        "-fvisibility=hidden",
                                        "-fno-exceptions",
                                        "-fno-rtti",
                                        "-fno-strict-aliasing",
                                        "-fno-math-errno",
                                        "-ffp-contract=off",
                                        "-fsanitize=thread",
                                        "-ftrivial-auto-var-init=pattern",
                                        "-nodefaultlibs",
                                        "-I" EMULATED_DEVICE_FOLDER,
                                        "-I.",
                                        "-Ireplaced",
                                        "-include",
                                        "prelude.h",
                                        "-D__CUDACC_RTC__"};

// Headers that the kernels get others for; those include them from there.
constexpr const char* kReplaced = "replaced/";

bool has_stand_in(const std::string& header) {
  return std::filesystem::exists(EMULATED_DEVICE_FOLDER "/" + header);
}

std::string ptxas_like(const std::vector<emulated::Kernel>& kernels, int capability) {
  std::string log;
  for (const emulated::Kernel& kernel : kernels)
    log += "ptxas info    : Compiling entry function '" + kernel.name + "' for 'sm_" +
           std::to_string(capability) + "'\n";
  return log + "ptxas info    : emulated on the CPU; registers and shared memory are not known\n";
}

}  // namespace

struct Program {
  std::string source, name, cubin, log;
  emulated::Headers headers;

  int compile(const Options& options) {
    const std::vector<std::string> texts = emulated::texts_of(source, headers, has_stand_in);
    for (const std::string& header : emulated::ptx_headers_of(texts))
      if (!has_stand_in(header) && headers[header].find("asm") != std::string::npos)
        return fail("error: tests/fake/device has nothing that stands in for " + header);
    const std::vector<emulated::Kernel> kernels = emulated::kernels_of(texts);
    if (kernels.empty()) return fail("error: no extern \"C\" __global__ function");
    const emulated::WorkFolder folder;
    for (const auto& [header, text] : headers)
      folder.write((has_stand_in(header) ? kReplaced : "") + header, emulated::with_dynamic_shared(text));
    const std::string file = std::filesystem::path(name).filename();
    folder.write(
        file, emulated::with_dynamic_shared(source) +
                  emulated::module_text(kernels, options.capability, emulated::shared_alignment_of(texts)));
    std::vector<std::string> arguments(std::begin(kHostOptions), std::end(kHostOptions));
    arguments.insert(arguments.end(), options.for_host.begin(), options.for_host.end());
    arguments.push_back("-D__CUDA_ARCH__=" + std::to_string(options.capability) + "0");
    arguments.insert(arguments.end(), {"-x", "c++", file, "-o", "module", "-lm", "-lc", "-lgcc"});
#ifndef __clang__
    arguments.push_back("-fno-gnu-unique");
#endif
    const auto [compiled, diagnostics] = emulated::run_compiler(folder, arguments);
    if (!compiled) return fail(diagnostics);
    cubin = folder.read("module");
    log = ptxas_like(kernels, options.capability);
    return kSuccess;
  }

  int fail(const std::string& diagnostics) {
    log = diagnostics;
    return kCompilation;
  }
};

EXPORT int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return kSuccess;
}
EXPORT const char* nvrtcGetErrorString(int result) {
  return result == kCompilation     ? "NVRTC_ERROR_COMPILATION"
         : result == kInvalidOption ? "NVRTC_ERROR_INVALID_OPTION"
                                    : "NVRTC_ERROR_INTERNAL_ERROR";
}
EXPORT int nvrtcGetNumSupportedArchs(int* count) {
  *count = static_cast<int>(std::size(kArchitectures));
  return kSuccess;
}
EXPORT int nvrtcGetSupportedArchs(int* architectures) {
  std::memcpy(architectures, kArchitectures, sizeof kArchitectures);
  return kSuccess;
}
EXPORT int nvrtcCreateProgram(Program** program, const char* source, const char* name, int count,
                              const char* const* texts, const char* const* names) {
  *program = new Program{source, name, "", "", {}};
  for (int i = 0; i < count; ++i) (*program)->headers.emplace(names[i], texts[i]);
  return kSuccess;
}
EXPORT int nvrtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return kSuccess;
}
EXPORT int nvrtcCompileProgram(Program* program, int count, const char* const* texts) {
  const Options options = read_options(count, texts);
  if (!options.unknown.empty() || options.capability == 0) {
    program->log = "nvrtc: error: unrecognized option '" + options.unknown + "'";
    return kInvalidOption;
  }
  try {
    return program->compile(options);
  } catch (const std::exception& error) {
    program->log = std::string("error: ") + error.what();
    return kInternalError;
  }
}
EXPORT int nvrtcGetCUBINSize(Program* program, std::size_t* bytes) {
  *bytes = program->cubin.size();
  return kSuccess;
}
EXPORT int nvrtcGetCUBIN(Program* program, char* bytes) {
  std::memcpy(bytes, program->cubin.data(), program->cubin.size());
  return kSuccess;
}
EXPORT int nvrtcGetProgramLogSize(Program* program, std::size_t* bytes) {
  *bytes = program->log.size() + 1;
  return kSuccess;
}
EXPORT int nvrtcGetProgramLog(Program* program, char* text) {
  std::memcpy(text, program->log.c_str(), program->log.size() + 1);
  return kSuccess;
}
