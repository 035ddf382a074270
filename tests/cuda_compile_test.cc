// The built-in kernels compile for every architecture with a clean log: no spill, no stack frame, no warning.
// Needs NVRTC but no GPU.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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

void expect_clean(const std::vector<Variant>& variants) {
  TemporaryFolder folder;
  CompilerSettings settings;
  settings.cache_directory = folder.path();
  Compiler compiler(settings);
  const int jobs = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  warm_up(compiler, variants, jobs, [](std::size_t done, std::size_t total, const WarmUpItem& item) {
    fmt::print("[{}/{}] {:.3f} s {}: {}\n", done, total, item.seconds, describe(item.variant), item.notes);
    EXPECT_EQ(item.error, "");
    EXPECT_TRUE(item.clean) << describe(item.variant) << ": " << item.notes;
  });
}

// The kernels that `choose` picks of every source, for the architectures that this NVRTC compiles for.
template <class F>
std::vector<Variant> kernels(F choose) {
  std::vector<Variant> all;
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures) {
    if (!nvrtc().supports(facts.architecture)) {
      fmt::print("NVRTC {} does not compile for {}\n", cuda::version_text(nvrtc().status().version),
                 facts.name);
      continue;
    }
    for (const KernelSource* source : kernel_registry().all()) {
      const std::vector<Variant> more = choose(*source, facts.architecture);
      all.insert(all.end(), more.begin(), more.end());
    }
  }
  return all;
}

TEST(CudaCompile, CoveringSetIsClean) {
  if (!nvrtc().status().problem.empty()) GTEST_SKIP() << nvrtc().status().problem;
  expect_clean(kernels(covering_variants));
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
  expect_clean(kernels(all_variants));
}

}  // namespace
}  // namespace strobe::jit
