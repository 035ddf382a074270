// Packs: what goes in comes out, and what is not a pack of ours is refused whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "jit/pack.h"
#include "jit/sha256.h"
#include "jit/tar.h"
#include "strobe/error.h"
#include "support/tiny_kernel.h"

namespace strobe::jit {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class JitPack : public ::testing::Test {
 protected:
  JitPack() {
    Compiler compiler(tiny_settings(source.path(), messages));
    compiler.obtain(tiny(2));
    compiler.obtain(tiny(3));
    archive = pack(compiler.cache(), compiler.cache().entries());
    files = read_tar(archive);
  }
  Cache target() { return {destination.path(), file_system(), messages.report()}; }

  // The digests of `files` brought up to date, as a forger would.
  std::string repacked() {
    files.front().content.clear();
    for (std::size_t i = 1; i < files.size(); ++i)
      files.front().content += sha256_hex(files[i].content) + "  " + files[i].name + "\n";
    return write_tar(files);
  }

  void expect_rejected(const std::string& bytes, const std::string& why) {
    Cache cache = target();
    try {
      unpack(cache, bytes);
      ADD_FAILURE() << "accepted, expected: " << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("the pack is rejected, nothing of it is used"), HasSubstr(why)));
    }
    EXPECT_FALSE(fs::exists(destination.path())) << "something was written";
  }

  TemporaryFolder source, destination;
  Messages messages;
  std::string archive;
  std::vector<TarFile> files;
};

TEST_F(JitPack, BringsTheEntriesToAnotherCache) {
  Cache cache = target();
  EXPECT_EQ(unpack(cache, archive), 2u);
  CompilerSettings settings = tiny_settings(destination.path(), messages);
  settings.may_compile = false;
  Compiler there(settings);
  Compiler here(tiny_settings(source.path(), messages));
  for (const int factor : {2, 3})
    EXPECT_EQ(there.obtain(tiny(factor))->entry.code, here.obtain(tiny(factor))->entry.code);
  EXPECT_EQ(unpack(cache, archive), 2u) << "again is no error";
  EXPECT_EQ(pack(cache, cache.entries()), archive) << "the same entries make the same pack";
}

TEST_F(JitPack, EmptyCachesMakeEmptyPacks) {
  Cache cache = target();
  EXPECT_EQ(unpack(cache, pack(cache, {})), 0u);
}

TEST_F(JitPack, RefusesNamesThatAreNoEntrys) {
  for (const std::string name :
       {"../evil.cubin", "/etc/evil.cubin", "a/../../evil.json", "evil.so", ".hidden", "tiny.cubin"}) {
    files[1].name = name;
    expect_rejected(repacked(), "'" + name + "' is not the name of a cache entry's file");
  }
  files[1].name = "../" + read_tar(archive)[1].name;
  expect_rejected(repacked(), "is not the name of a cache entry's file");
}

TEST_F(JitPack, RefusesLinksAndDirectories) {
  constexpr std::size_t kTypeAt = 156;
  for (const char type : {'1', '2', '3', '5', 'L', 'x'}) {
    std::string bytes = archive;
    // The second member's header stands behind the first's content.
    const std::size_t header = 512 + (files[0].content.size() + 511) / 512 * 512;
    bytes[header + kTypeAt] = type;
    // The checksum counts the type.
    const std::size_t sum_at = header + 148;
    const unsigned long sum =
        std::stoul(bytes.substr(sum_at, 6), nullptr, 8) + static_cast<unsigned long>(type - '0');
    char text[8];
    std::snprintf(text, sizeof text, "%06lo", sum);
    bytes.replace(sum_at, 6, text);
    expect_rejected(bytes, "is a link, a directory or a device");
  }
}

TEST_F(JitPack, RefusesWrongDigests) {
  std::string bytes = archive;
  bytes[bytes.find("kkkk") + 100] = 'x';  // in the code
  expect_rejected(bytes, "is not what SHA256SUMS says");
  files[1].content += "x";
  const std::string sums = files[0].content;
  expect_rejected(write_tar(files), "is not what SHA256SUMS says");
}

TEST_F(JitPack, RefusesEntriesThatAreNotWhole) {
  const std::vector<TarFile> all = files;
  for (std::size_t i = 1; i < all.size(); ++i) {
    files = all;
    files.erase(files.begin() + static_cast<std::ptrdiff_t>(i));
    expect_rejected(repacked(), "is missing");
    files = all;
    files[i].content += "x";
    expect_rejected(repacked(), all[i].name.ends_with(".json") ? "" : "do not belong together");
  }
  files = all;
  files.push_back(all[1]);
  expect_rejected(repacked(), "is there twice");
  files = all;
  files[0].content += std::string(64, 'a') + "  tiny-" + std::string(32, 'a') + "-13.0.cu\n";
  expect_rejected(write_tar(files), "names 7 files, 6 are there");
  files = all;
  files.erase(files.begin());
  expect_rejected(write_tar(files), "does not begin with SHA256SUMS");
}

TEST_F(JitPack, RefusesWhatIsNoArchive) {
  expect_rejected("", "cut short");
  expect_rejected(std::string(5000, 'x'), "no octal number");
  for (const std::size_t cut :
       {std::size_t{511}, std::size_t{700}, archive.size() / 2, archive.size() - 1500})
    expect_rejected(archive.substr(0, cut), "");
}

// Every flipped bit is either noticed or without effect.
TEST_F(JitPack, NoFlippedBitGoesUnnoticed) {
  for (std::size_t at = 0; at < archive.size(); at += 211) {
    std::string bytes = archive;
    bytes[at] = static_cast<char>(bytes[at] ^ 16);
    TemporaryFolder folder;
    Cache cache(folder.path(), file_system(), messages.report());
    try {
      unpack(cache, bytes);
    } catch (const Error&) {
      EXPECT_FALSE(fs::exists(folder.path()));
      continue;
    }
    EXPECT_EQ(pack(cache, cache.entries()), archive) << at;
  }
}

TEST_F(JitPack, PackingADamagedEntryIsAnError) {
  for (const auto& entry : fs::directory_iterator(source.path()))
    if (entry.path().extension() == ".cubin") fs::resize_file(entry.path(), 100);
  Cache cache(source.path(), file_system(), messages.report());
  EXPECT_THROW(pack(cache, cache.entries()), Error);
}

}  // namespace
}  // namespace strobe::jit
