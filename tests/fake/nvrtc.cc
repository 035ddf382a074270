// A library with NVRTC's interface that compiles nothing: its output is a function of its input, so that the
// fault tests of the cache run quickly and where there is no NVRTC. Environment: FAKE_NVRTC_MS, how long a
// compile takes; FAKE_NVRTC_COUNT, a file that grows by a byte with every compile.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#define EXPORT extern "C" __attribute__((visibility("default")))

struct Program {
  std::string source;
  std::string cubin;
  std::string log;
};

EXPORT int nvrtcVersion(int* major, int* minor) {
  const char* version = std::getenv("FAKE_NVRTC_MAJOR");
  *major = version != nullptr ? std::atoi(version) : 13;
  *minor = 0;
  return 0;
}
EXPORT const char* nvrtcGetErrorString(int) { return "FAKE_ERROR"; }
EXPORT int nvrtcGetNumSupportedArchs(int* count) {
  *count = 4;
  return 0;
}
EXPORT int nvrtcGetSupportedArchs(int* architectures) {
  constexpr int kSome[] = {80, 86, 89, 90};  // as NVRTC 12.0; none of Blackwell's
  std::memcpy(architectures, kSome, sizeof kSome);
  return 0;
}
EXPORT int nvrtcCreateProgram(Program** program, const char* source, const char*, int count,
                              const char* const* texts, const char* const*) {
  *program = new Program{source, "", ""};
  for (int i = 0; i < count; ++i) (*program)->source += texts[i];
  return 0;
}
EXPORT int nvrtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return 0;
}
// For tests: the largest number of compiles that ran at the same time.
std::atomic<int> running{0}, most{0};
EXPORT int fakeNvrtcMostAtOnce() { return most; }

EXPORT int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
  const int now = ++running;
  for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {
  }
  struct Leave {
    ~Leave() { --running; }
  } leave;
  if (const char* file = std::getenv("FAKE_NVRTC_COUNT"); file != nullptr) {
    const int descriptor = ::open(file, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (::write(descriptor, "x", 1) != 1) return 1;
    ::close(descriptor);
  }
  if (const char* delay = std::getenv("FAKE_NVRTC_MS"); delay != nullptr)
    std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(delay)));
  if (program->source.find("#include \"broken.cuh\"") != std::string::npos) {
    program->log =
        "warning: a remark before\ntest.cuh(3): error: #error directive: on purpose\n1 error detected";
    return 6;
  }
  for (int i = 0; i < count; ++i) program->source += options[i];
  // Some KiB, as a real one has.
  program->cubin =
      "\x7f"
      "ELF fake " +
      std::to_string(std::hash<std::string>{}(program->source));
  program->cubin.append(8192, 'k');
  program->log =
      "ptxas info    : Compiling entry function 'strobe_tiny' for 'sm_90a'\n"
      "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 17 registers, used 1 barriers, 512 bytes smem";
  return 0;
}
EXPORT int nvrtcGetCUBINSize(Program* program, std::size_t* bytes) {
  *bytes = program->cubin.size();
  return 0;
}
EXPORT int nvrtcGetCUBIN(Program* program, char* bytes) {
  std::memcpy(bytes, program->cubin.data(), program->cubin.size());
  return 0;
}
EXPORT int nvrtcGetProgramLogSize(Program* program, std::size_t* bytes) {
  *bytes = program->log.size() + 1;
  return 0;
}
EXPORT int nvrtcGetProgramLog(Program* program, char* text) {
  std::memcpy(text, program->log.c_str(), program->log.size() + 1);
  return 0;
}
