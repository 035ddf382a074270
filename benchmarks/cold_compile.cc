// What a kernel costs before its first launch: the compile from nothing, and the load from the cache. One row
// for every kernel that the suites named on the command line launch (default: llama-3.1-8b) on sm_90a.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/rehearse.h"
#include "bench/suites.h"
#include "jit/compiler.h"
#include "strobe/error.h"

namespace {

using namespace strobe;

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The median of three, each in an empty cache.
double cold_seconds(const jit::Variant& variant, jit::Compiler& compiler) {
  std::vector<double> seconds;
  for (int i = 0; i < 3; ++i) {
    for (const jit::EntryName& name : compiler.cache().entries()) compiler.cache().remove(name);
    seconds.push_back(seconds_of([&] { compiler.obtain(variant); }));
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[1];
}

void print_row(const jit::Variant& variant, jit::Compiler& compiler) {
  const double cold = cold_seconds(variant, compiler);
  std::vector<double> warm;
  for (int i = 0; i < 21; ++i) warm.push_back(seconds_of([&] { compiler.obtain(variant); }));
  std::sort(warm.begin(), warm.end());
  fmt::print("{:8.3f} {:8.3f}  {}\n", cold, 1e3 * warm[10], jit::describe(variant));
}

void print_table(const std::vector<std::string>& suites) {
  std::string folder = (std::filesystem::temp_directory_path() / "strobe-cold-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw Error(ErrorKind::kIo, "no temporary folder can be made");
  jit::CompilerSettings settings;
  settings.cache_directory = folder + "/cache";
  jit::Compiler compiler(settings);
  std::vector<jit::Variant> kernels;
  for (const std::string& suite : suites)
    for (const bench::BenchCase& bench_case : bench::suite_cases(suite))
      for (const jit::Variant& variant : bench::kernels_of(bench_case, cuda::Architecture::kSm90a))
        if (std::find(kernels.begin(), kernels.end(), variant) == kernels.end()) kernels.push_back(variant);
  fmt::print("  cold s  warm ms  kernel (NVRTC first loaded in {:.3f} s)\n",
             seconds_of([] { jit::nvrtc(); }));
  for (const jit::Variant& variant : kernels) print_row(variant, compiler);
  std::filesystem::remove_all(folder);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    print_table(argc > 1 ? std::vector<std::string>(argv + 1, argv + argc)
                         : std::vector<std::string>{"llama-3.1-8b"});
  } catch (const std::exception& error) {
    fmt::print(stderr, "cold_compile: {}\n", error.what());
    return 1;
  }
  return 0;
}
