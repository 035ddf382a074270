// Instruction-set levels: what the machine supports, and the choice by environment and by set_active_isa.
#include "cpu/isa.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "strobe/error.h"

namespace strobe::cpu {
namespace {

std::vector<Isa> levels() {
  std::vector<Isa> all;
  for (int level = 0; level < kIsaCount; ++level) all.push_back(static_cast<Isa>(level));
  return all;
}

Isa best() {
  Isa result = Isa::kPortable;
  for (const Isa isa : levels())
    if (supported(isa)) result = isa;
  return result;
}

// The choice is made once in a process. So every test that makes it does so in a child, and the parent never
// does.
struct Outcome {
  int status;           // 100 + level, or the kind of the Error
  std::string message;  // of the Error
};

template <class Choose>
Outcome in_child(Choose choose) {
  int ends[2];
  if (pipe(ends) != 0) return {-1, "pipe failed"};
  const pid_t child = fork();
  if (child == 0) {
    try {
      _exit(100 + static_cast<int>(choose()));
    } catch (const Error& error) {
      const std::string_view message = error.what();
      const bool written = write(ends[1], message.data(), message.size()) > 0;
      _exit(written ? static_cast<int>(error.kind()) : 99);
    }
  }
  close(ends[1]);
  Outcome outcome{-1, ""};
  char buffer[4096];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    outcome.message.append(buffer, static_cast<std::size_t>(count));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
  return outcome;
}

Outcome outcome_of(std::string_view value) {
  return in_child([value] {
    setenv("STROBE_CPU_ISA", std::string(value).c_str(), 1);
    return active_isa();
  });
}

TEST(Isa, PortableIsSupportedAndLevelsNest) {
  EXPECT_TRUE(supported(Isa::kPortable));
  for (int level = 1; level < kIsaCount; ++level) {
    const bool nests = supported(static_cast<Isa>(level - 1)) || !supported(static_cast<Isa>(level));
    EXPECT_TRUE(nests) << name(static_cast<Isa>(level));
  }
}

#if defined(__x86_64__)
// The processor's features as Linux lists them, which it takes from cpuid and its own XSAVE set-up.
bool kernel_lists(const std::vector<std::string>& features) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with("flags") || line.starts_with("Features")) break;
  std::istringstream words(line);
  const std::vector<std::string> listed{std::istream_iterator<std::string>(words), {}};
  for (const std::string& feature : features)
    if (std::find(listed.begin(), listed.end(), feature) == listed.end()) return false;
  return true;
}

TEST(Isa, AgreesWithTheKernel) {
  EXPECT_EQ(supported(Isa::kAvx2), kernel_lists({"avx2", "fma", "f16c"}));
  EXPECT_EQ(supported(Isa::kAvx512),
            kernel_lists({"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512cd"}));
  EXPECT_EQ(supported(Isa::kAvx512Bf16),
            kernel_lists({"avx512f", "avx512_bf16", "avx512_vnni", "avx512vbmi"}));
}
#endif

TEST(Isa, NamesAreDistinct) {
  EXPECT_EQ(name(Isa::kPortable), "portable");
  for (const Isa a : levels())
    for (const Isa b : levels()) EXPECT_EQ(name(a) == name(b), a == b);
}

TEST(Isa, EnvironmentForcesALevel) {
  for (const Isa isa : levels()) {
    const Outcome outcome = outcome_of(name(isa));
    if (supported(isa)) {
      EXPECT_EQ(outcome.status, 100 + static_cast<int>(isa));
    } else {
      EXPECT_EQ(outcome.status, static_cast<int>(ErrorKind::kUnsupported));
    }
  }
  EXPECT_EQ(outcome_of("").status, 100 + static_cast<int>(best()));
}

TEST(Isa, UnknownLevelIsAnErrorThatListsTheLevels) {
  for (const char* value : {"avx1024", "AVX2", " avx2", "portable,avx2"}) {
    const Outcome outcome = outcome_of(value);
    EXPECT_EQ(outcome.status, static_cast<int>(ErrorKind::kInvalidArgument)) << value;
    EXPECT_NE(outcome.message.find("STROBE_CPU_ISA"), std::string::npos) << outcome.message;
    EXPECT_NE(outcome.message.find(value), std::string::npos) << outcome.message;
    for (const Isa isa : levels()) {
      const std::string listed =
          std::string(name(isa)) + (supported(isa) ? " (supported)" : " (not supported)");
      EXPECT_NE(outcome.message.find(listed), std::string::npos) << outcome.message;
    }
  }
}

TEST(Isa, SetActiveIsaChangesTheKernelChosen) {
  struct Kernels {
    static int zero() { return 0; }
    static int other() { return 1; }
  };
  PerIsa<int()> kernel{};
  for (auto& level : kernel.level) level = Kernels::other;
  kernel.level[0] = Kernels::zero;

  for (const Isa isa : levels()) {
    const Outcome outcome = in_child([&] {
      set_active_isa(isa);
      return (*kernel)() == (isa == Isa::kPortable ? 0 : 1) ? active_isa() : static_cast<Isa>(-1);
    });
    EXPECT_EQ(outcome.status,
              supported(isa) ? 100 + static_cast<int>(isa) : static_cast<int>(ErrorKind::kUnsupported));
  }
}

}  // namespace
}  // namespace strobe::cpu
