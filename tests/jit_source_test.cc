// Kernels as data: translation units, enumeration, covering sets, registry; logs and digests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "jit/kernel_source.h"
#include "jit/ptxas_log.h"
#include "jit/sha256.h"
#include "strobe/error.h"
#include "support/tiny_kernel.h"

namespace strobe::jit {
namespace {

using cuda::Architecture;
using ::testing::HasSubstr;

template <class F>
std::string error_of(F call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(JitSource, TranslationUnitDefinesConstantsBeforeTheHeader) {
  EXPECT_EQ(translation_unit(tiny(3, true)),
            "// tiny(kFactor = 3, kWide = true) for sm_90a\n"
            "constexpr int kFactor = 3;\n"
            "constexpr bool kWide = true;\n"
            "#include \"tiny.cuh\"\n");
  KernelSource typed = kTiny;
  typed.types = "types.h";
  EXPECT_THAT(translation_unit({&typed, {1, 0}, Architecture::kSm80}),
              HasSubstr("#include \"types.h\"\nconstexpr int"));
}

TEST(JitSource, AKernelExistsWhenEveryValueIsAmongItsConstants) {
  EXPECT_TRUE(exists(tiny(5)));
  EXPECT_FALSE(exists(tiny(4)));
  KernelSource hopper = kTiny;
  hopper.least_architecture = Architecture::kSm90a;
  EXPECT_FALSE(exists({&hopper, {1, 0}, Architecture::kSm89}));
  EXPECT_TRUE(exists({&hopper, {1, 0}, Architecture::kSm120a}));
  hopper.valid = [](Values values, Architecture) { return values[0] != 1; };
  EXPECT_FALSE(exists({&hopper, {1, 0}, Architecture::kSm90a}));
}

TEST(JitSource, DescriptionsLeaveNamespacesOut) {
  constexpr Constant kTyped[] = {
      {"kType", "ns::Dtype", kTinyWide, [](int) { return std::string("ns::Dtype::kBf16"); }}};
  KernelSource typed = kTiny;
  typed.constants = kTyped;
  EXPECT_EQ(describe({&typed, {0}, Architecture::kSm80}), "tiny(kType = kBf16) for sm_80");
  EXPECT_THAT(translation_unit({&typed, {0}, Architecture::kSm80}),
              HasSubstr("constexpr ns::Dtype kType = ns::Dtype::kBf16;"));
}

TEST(JitSource, AllVariantsIsTheProductOfTheValues) {
  const std::vector<Variant> all = all_variants(kTiny, Architecture::kSm80);
  ASSERT_EQ(all.size(), 8u);
  std::set<std::string> units;
  for (const Variant& variant : all) units.insert(translation_unit(variant));
  EXPECT_EQ(units.size(), 8u);
}

constexpr int kThree[] = {0, 1, 2};
constexpr Constant kFour[] = {
    {"a", "int", kThree}, {"b", "int", kThree}, {"c", "int", kThree}, {"d", "int", kThree}};
// d = 2 goes with a = 0 only: a pair that a naive choice of rows misses.
bool four_valid(Values values, Architecture) { return values[3] != 2 || values[0] == 0; }
constexpr KernelSource kFourSource = {.name = "four",
                                      .header = "four.cuh",
                                      .types = "",
                                      .constants = kFour,
                                      .valid = four_valid,
                                      .launch_facts = tiny_launch};

std::set<std::array<int, 4>> pairs(const std::vector<Variant>& variants) {
  std::set<std::array<int, 4>> found;
  for (const Variant& variant : variants)
    for (int i = 0; i < 4; ++i)
      for (int j = i + 1; j < 4; ++j)
        found.insert(
            {i, j, variant.values[static_cast<std::size_t>(i)], variant.values[static_cast<std::size_t>(j)]});
  return found;
}

constexpr Architecture kOneArchitecture[] = {Architecture::kSm80};

TEST(JitSource, CoveringSetHoldsEveryPairThatOccurs) {
  const std::vector<Variant> all = all_variants(kFourSource, Architecture::kSm80);
  const std::vector<Variant> few = covering_variants(kFourSource, kOneArchitecture);
  EXPECT_EQ(pairs(few), pairs(all));
  EXPECT_LE(few.size(), 16u) << "of " << all.size();
  for (const Variant& variant : few) EXPECT_TRUE(exists(variant));
}

// Values that one architecture alone has are paired there.
TEST(JitSource, CoveringSetHoldsEveryValueOnEveryArchitecture) {
  constexpr Architecture kThreeArchitectures[] = {Architecture::kSm80, Architecture::kSm89,
                                                  Architecture::kSm90a};
  KernelSource source = kFourSource;
  source.valid = [](Values values, Architecture architecture) {
    return four_valid(values, architecture) && (values[1] != 2 || architecture == Architecture::kSm90a);
  };
  using Value = std::tuple<Architecture, std::size_t, int>;
  const auto values_of = [](const std::vector<Variant>& variants) {
    std::set<Value> found;
    for (const Variant& variant : variants)
      for (std::size_t i = 0; i < 4; ++i) found.insert({variant.architecture, i, variant.values[i]});
    return found;
  };
  std::vector<Variant> all;
  for (const Architecture architecture : kThreeArchitectures)
    for (const Variant& variant : all_variants(source, architecture)) all.push_back(variant);
  const std::vector<Variant> few = covering_variants(source, kThreeArchitectures);
  EXPECT_EQ(pairs(few), pairs(all));
  EXPECT_EQ(values_of(few), values_of(all));
  EXPECT_LE(few.size(), 20u) << "of " << all.size();
}

TEST(JitSource, CoveringSetOfOneConstantHoldsEachValue) {
  KernelSource one = kTiny;
  one.constants = std::span(kTinyConstants).first(1);
  EXPECT_EQ(covering_variants(one, kOneArchitecture).size(), 4u);
  one.constants = {};
  EXPECT_EQ(covering_variants(one, kOneArchitecture).size(), 1u);
}

TEST(JitSource, RegistryRejectsWhatIsIncomplete) {
  KernelRegistry registry;
  registry.add(kTiny);
  EXPECT_EQ(registry.find("tiny"), &kTiny);
  EXPECT_EQ(registry.find("none"), nullptr);
  EXPECT_THAT(error_of([&] { registry.add(kTiny); }), HasSubstr("the name is taken"));
  KernelSource bad = kTiny;
  bad.name = "bad";
  bad.launch_facts = nullptr;
  EXPECT_THAT(error_of([&] { registry.add(bad); }), HasSubstr("kernel 'bad': a kernel source needs"));
}

TEST(JitSource, ArchitecturesParseAsOtherToolsSpellThem) {
  for (const char* text : {"sm_90a", "90a", "9.0a", "9.0", "90"})
    EXPECT_EQ(cuda::parse_architecture(text), Architecture::kSm90a);
  EXPECT_EQ(cuda::parse_architecture("8.6"), Architecture::kSm86);
  EXPECT_EQ(cuda::parse_architecture("120"), Architecture::kSm120a);
  EXPECT_EQ(error_of([] { cuda::parse_architecture("sm_80a"); }),
            "architecture 'sm_80a': expected one of sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a");
  EXPECT_EQ(cuda::architecture_of(9, 0), Architecture::kSm90a);
  EXPECT_FALSE(cuda::architecture_of(7, 5).has_value());
}

// FIPS 180-4's own examples, and lengths around the block.
TEST(JitSource, Sha256MatchesTheStandard) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  const std::string text(200, 'x');
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(Sha256().add(text.substr(0, cut)).add(text.substr(cut)).hex(), sha256_hex(text)) << cut;
  EXPECT_NE(Sha256().add_field("ab").add_field("c").hex(), Sha256().add_field("a").add_field("bc").hex());
}

TEST(JitSource, LogOfACleanKernel) {
  const KernelFacts facts = read_ptxas_log(
      "ptxas info    : 4 bytes gmem\n"
      "ptxas info    : Compiling entry function 'strobe_k' for 'sm_90a'\n"
      "ptxas info    : Function properties for strobe_k\n"
      "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 168 registers, used 5 barriers, 512 bytes smem, 368 bytes cmem[0]\n");
  EXPECT_EQ(facts.registers, 168);
  EXPECT_EQ(facts.shared_bytes, 512);
  EXPECT_EQ(facts.barriers, 5);
  EXPECT_TRUE(facts.clean());
}

TEST(JitSource, LogsThatAreNotClean) {
  EXPECT_FALSE(
      read_ptxas_log("ptxas . 16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads").clean());
  const KernelFacts spilled =
      read_ptxas_log("ptxas . 0 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads");
  EXPECT_EQ(spilled.spill_stores, 8);
  EXPECT_EQ(spilled.spill_loads, 12);
  EXPECT_FALSE(spilled.clean());
  EXPECT_FALSE(
      read_ptxas_log(
          "ptxas info : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized")
          .clean());
  EXPECT_FALSE(read_ptxas_log("x.cu(2): warning #177-D: variable was declared but never referenced").clean());
  // Every function has its line; the worst counts.
  EXPECT_EQ(read_ptxas_log("ptxas . 40 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                           "ptxas . 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads")
                .stack_bytes,
            40);
}

TEST(JitSource, FirstDiagnosticIsTheFirstError) {
  EXPECT_EQ(first_diagnostic("a remark\nx.cuh(3): error: no such type\nx.cuh(4): error: more"),
            "x.cuh(3): error: no such type");
  EXPECT_EQ(first_diagnostic("only this"), "only this");
  EXPECT_EQ(first_diagnostic(""), "");
}

// What the built-in kernels promise, without a compiler: dynamic shared memory and threads fit every
// architecture.
TEST(JitSource, LaunchesOfBuiltInKernelsFitTheirArchitecture) {
  for (const KernelSource* source : kernel_registry().all())
    for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures)
      for (const Variant& variant : all_variants(*source, facts.architecture)) {
        const LaunchFacts launch = source->launch_facts(variant.constants(), facts.architecture);
        ASSERT_LE(launch.shared_bytes, facts.shared_bytes_per_block) << describe(variant);
        ASSERT_GE(launch.threads, 1) << describe(variant);
        ASSERT_LE(launch.threads, 1024) << describe(variant);
        ASSERT_EQ(launch.threads % 32, 0) << describe(variant);
      }
}

}  // namespace
}  // namespace strobe::jit
