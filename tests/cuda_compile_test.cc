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
#include "ops/attention_prefill_cuda.h"
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

// The kernel of a variant for bf16 prompts.
Variant tiles(const ops::VariantRecord& variant, int head_dim, cuda::Architecture architecture) {
  const op::AttentionCudaShape shape{.q_dtype = Dtype::kBf16,
                                     .kv_dtype = Dtype::kBf16,
                                     .num_qo_heads = 8,
                                     .num_kv_heads = 8,
                                     .head_dim_qk = head_dim,
                                     .head_dim_vo = head_dim,
                                     .page_size = 0,
                                     .mask = MaskMode::kCausal,
                                     .window_left = -1,
                                     .soft_cap = false,
                                     .alibi = false,
                                     .rope = false,
                                     .deterministic = false,
                                     .variant = variant.id,
                                     .variant_changes_rows = variant.changes_rows,
                                     .backend = Backend::kAuto,
                                     .fixed = false,
                                     .max_batch_size = 1,
                                     .max_qo_len = 1024,
                                     .max_query_tokens = 1024};
  Variant kernel{&variant.cuda.tiles, {}, architecture};
  std::ranges::copy(op::prefill_form(shape, {}, architecture).values, kernel.values.begin());
  return kernel;
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
    const ops::VariantRecord& variant = *ops::find_variant(define_attention_variant(it.text));
    all.push_back({&variant.cuda.f32, {}, cuda::Architecture::kSm90a});
    all.push_back(tiles(variant, 128, cuda::Architecture::kSm90a));
    if (&it != &cases.back()) continue;
    for (const int head_dim : {64, 256}) all.push_back(tiles(variant, head_dim, cuda::Architecture::kSm80));
  }
  expect_clean(all);
  const Variant broken = tiles(*ops::find_variant(define_attention_variant(test::broken_text())), 128,
                               cuda::Architecture::kSm90a);
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
