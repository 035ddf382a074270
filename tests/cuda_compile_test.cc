// The built-in kernels compile for every architecture with a clean log: no spill, no stack frame, no warning.
// Needs NVRTC but no GPU. Kernels stay in the build folder with their logs, by the hash of all they are made
// of: a second run reads these, and one that was stopped goes on.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <functional>
#include <map>
#include <thread>

#include "cuda/driver.h"
#include "jit/warm_up.h"
#include "ops/attention_variant.h"
#include "support/attention_batch.h"
#include "support/tiny_kernel.h"
#include "support/variant_case.h"

namespace strobe::jit {
namespace {

[[maybe_unused]] const int kCacheIsSet = ::setenv("STROBE_CACHE_DIR", STROBE_KERNEL_CACHE, 0);

// What each source costs, the most expensive first.
void print_costs(const std::vector<WarmUpItem>& items) {
  struct Cost {
    int kernels = 0;
    double seconds = 0, longest = 0;
  };
  std::map<std::string_view, Cost> by_source;
  for (const WarmUpItem& item : items) {
    Cost& cost = by_source[item.variant.source->name];
    ++cost.kernels;
    cost.seconds += item.seconds;
    cost.longest = std::max(cost.longest, item.seconds);
  }
  std::vector<std::pair<std::string_view, Cost>> costs(by_source.begin(), by_source.end());
  std::ranges::sort(costs, std::greater(), [](const auto& cost) { return cost.second.seconds; });
  for (const auto& [name, cost] : costs)
    fmt::print("{:24} {:5} kernels {:8.1f} s, the longest {:.2f} s\n", name, cost.kernels, cost.seconds,
               cost.longest);
}

void expect_clean(const std::vector<Variant>& variants) {
  Compiler compiler(CompilerSettings::from_environment());
  const int jobs = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const auto report = [](std::size_t done, std::size_t total, const WarmUpItem& item) {
    fmt::print("[{}/{}] {:.3f} s {}: {}\n", done, total, item.seconds, describe(item.variant), item.notes);
    EXPECT_EQ(item.error, "");
    EXPECT_TRUE(item.clean) << describe(item.variant) << ": " << item.notes;
  };
  print_costs(warm_up(compiler, variants, jobs, report));
}

// Those that this NVRTC compiles for.
std::vector<cuda::Architecture> architectures() {
  std::vector<cuda::Architecture> supported;
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures) {
    if (nvrtc().supports(facts.architecture)) {
      supported.push_back(facts.architecture);
    } else {
      fmt::print("NVRTC {} does not compile for {}\n", cuda::version_text(nvrtc().status().version),
                 facts.name);
    }
  }
  return supported;
}

TEST(CudaCompile, CoveringSetIsClean) {
  if (!nvrtc().status().problem.empty()) GTEST_SKIP() << nvrtc().status().problem;
  const std::vector<cuda::Architecture> wanted = architectures();
  std::vector<Variant> all;
  for (const KernelSource* source : kernel_registry().all())
    for (const Variant& variant : covering_variants(*source, wanted)) all.push_back(variant);
  expect_clean(all);
}

// Texts of users: the examples, and both spellings of all hooks.
TEST(CudaCompile, AttentionVariantsAreClean) {
  if (!nvrtc().status().problem.empty()) GTEST_SKIP() << nvrtc().status().problem;
  test::AttentionBatch batch({{1, 4}});
  test::ExampleArguments memory;
  std::vector<float> floats(4);
  std::vector<test::VariantCase> cases = test::example_variants({batch.plan, batch.run}, memory);
  cases.push_back(test::turned_pairs());
  cases.push_back(test::flashinfer_spelling(floats, floats));
  std::vector<Variant> all;
  for (const test::VariantCase& it : cases) {
    const KernelSource& source = ops::find_variant(define_attention_variant(it.text))->cuda;
    all.push_back({&source, {}, cuda::Architecture::kSm90a});
    if (&it == &cases.back()) all.push_back({&source, {}, cuda::Architecture::kSm80});
  }
  expect_clean(all);
  const Variant broken{&ops::find_variant(define_attention_variant(test::broken_text()))->cuda,
                       {},
                       cuda::Architecture::kSm90a};
  TemporaryFolder folder;
  CompilerSettings settings;
  settings.cache_directory = folder.path();
  EXPECT_THAT(
      test::error_message([&] { Compiler(settings).obtain(broken); }),
      testing::AllOf(testing::HasSubstr("Broken(3): error"), testing::HasSubstr("no_such_parameter")));
}

TEST(CudaCompileSlow, WholeProductIsClean) {
  if (!nvrtc().status().problem.empty()) GTEST_SKIP() << nvrtc().status().problem;
  std::vector<Variant> all;
  for (const cuda::Architecture architecture : architectures())
    for (const Variant& variant : library_variants(architecture)) all.push_back(variant);
  expect_clean(all);
}

}  // namespace
}  // namespace strobe::jit
