// The kernel cache: what it keeps, what it refuses, what it survives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "jit/cache.h"
#include "jit/sha256.h"
#include "strobe/error.h"
#include "support/tiny_kernel.h"

namespace strobe::jit {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The real file system, of which single calls can be made to fail.
class FaultyFileSystem : public FileSystem {
 public:
  int create_error = 0, write_error = 0, lock_error = 0, mkdir_error = 0, rename_error = 0;
  int writes_before_error = 0;
  uid_t owner_offset = 0;

  int create(const std::string& path, int& descriptor) override {
    return create_error != 0 ? create_error : FileSystem::create(path, descriptor);
  }
  int write(int descriptor, const std::string& content) override {
    if (write_error != 0 && writes_before_error-- <= 0) {
      FileSystem::write(descriptor, content.substr(0, content.size() / 2));
      return write_error;
    }
    return FileSystem::write(descriptor, content);
  }
  int try_lock(int descriptor) override {
    return lock_error != 0 ? lock_error : FileSystem::try_lock(descriptor);
  }
  int open_lock(const std::string& path, bool create, int& descriptor) override {
    return create_error != 0 && create ? create_error : FileSystem::open_lock(path, create, descriptor);
  }
  int make_directory(const std::string& path, mode_t mode) override {
    return mkdir_error != 0 ? mkdir_error : FileSystem::make_directory(path, mode);
  }
  int rename(const std::string& from, const std::string& to) override {
    return rename_error != 0 ? rename_error : FileSystem::rename(from, to);
  }
  int status(const std::string& path, FileStatus& status) override {
    const int error = FileSystem::status(path, status);
    status.owner += owner_offset;
    return error;
  }
};

void overwrite(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

std::string content(const std::string& path) {
  std::string text;
  EXPECT_EQ(file_system().read(path, text), 0) << path;
  return text;
}

class JitCache : public ::testing::Test {
 protected:
  // A process of its own, as far as the cache can tell.
  std::shared_ptr<const Binary> obtain(int factor = 2, const Demand& demand = {}) {
    CompilerSettings settings = tiny_settings(folder.path(), messages);
    settings.files = &files;
    Compiler compiler(settings);
    return compiler.obtain(tiny(factor), demand);
  }
  Cache cache() { return {folder.path(), files, messages.report()}; }
  std::vector<std::string> files_with(const std::string& suffix) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder.path()))
      if (entry.path().string().ends_with(suffix)) found.push_back(entry.path());
    return found;
  }

  TemporaryFolder folder;
  FaultyFileSystem files;
  Messages messages;
};

TEST_F(JitCache, CompilesOnceAndFindsItAgain) {
  const auto first = obtain();
  EXPECT_TRUE(first->compiled);
  const auto second = obtain();
  EXPECT_FALSE(second->compiled);
  EXPECT_EQ(second->entry.code, first->entry.code);
  EXPECT_EQ(second->entry.record.facts.registers, 17);
  EXPECT_EQ(second->entry.record.description, "tiny(kFactor = 2, kWide = false) for sm_90a");
  EXPECT_EQ(content(files_with(".cu").at(0)), translation_unit(tiny(2)));
  EXPECT_EQ(files_with(".json").size(), 1u);
  EXPECT_THAT(messages.text(), IsEmpty());
}

TEST_F(JitCache, DirectoryIsForThisUserOnly) {
  obtain();
  struct stat status {};
  ASSERT_EQ(::stat(folder.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(JitCache, ParentsAreMade) {
  CompilerSettings settings = tiny_settings(folder.path("a/b/c"), messages);
  Compiler(settings).obtain(tiny(1));
  EXPECT_TRUE(fs::exists(folder.path("a/b/c")));
}

TEST_F(JitCache, ADirectoryThatOthersMayWriteIsRefused) {
  obtain();
  fs::permissions(folder.path(), fs::perms::all);
  EXPECT_TRUE(obtain()->compiled) << "what lies there must not be used";
  EXPECT_THAT(messages.text(), HasSubstr("may be written by others (mode 777), and what lies there is code"));
  EXPECT_EQ(files_with(".json").size(), 1u) << "nor must anything be put there";
  fs::permissions(folder.path(), fs::perms::owner_all);
  EXPECT_FALSE(obtain()->compiled);
}

TEST_F(JitCache, ADirectoryOfAnotherUserIsRefused) {
  obtain();
  files.owner_offset = 1;
  EXPECT_TRUE(obtain()->compiled);
  EXPECT_THAT(messages.text(), HasSubstr("belongs to user " + std::to_string(::geteuid() + 1)));
}

TEST_F(JitCache, AFileInTheDirectorysPlaceIsNamed) {
  overwrite(folder.path(), "a file");
  EXPECT_TRUE(obtain()->compiled);
  EXPECT_THAT(messages.text(), HasSubstr("is not a directory"));
}

TEST_F(JitCache, WithoutAPlaceKernelsAreCompiledInMemory) {
  Compiler compiler(tiny_settings("", messages));
  EXPECT_TRUE(compiler.obtain(tiny(1))->compiled);
  EXPECT_THAT(messages.text(), HasSubstr("there is no place for it: STROBE_CACHE_DIR and HOME are not set"));
}

struct Fault {
  const char* what;
  int FaultyFileSystem::*error;
  int value;
  const char* message;
};
class JitCacheFault : public JitCache, public ::testing::WithParamInterface<Fault> {};

TEST_P(JitCacheFault, CostsTimeOnly) {
  files.*GetParam().error = GetParam().value;
  EXPECT_TRUE(obtain()->compiled);
  EXPECT_THAT(messages.text(), HasSubstr(GetParam().message));
  const std::string first = messages.text();
  if (fs::exists(folder.path())) {
    EXPECT_THAT(files_with(".json"), IsEmpty());
  }
  files.*GetParam().error = 0;
  EXPECT_TRUE(obtain()->compiled) << "a half entry was taken for a whole one";
  EXPECT_FALSE(obtain()->compiled);
  EXPECT_EQ(messages.text(), first) << "it works again, so nothing is to be said";
}

INSTANTIATE_TEST_SUITE_P(
    All, JitCacheFault,
    ::testing::Values(Fault{"full", &FaultyFileSystem::write_error, ENOSPC, "No space left on device"},
                      Fault{"readonly", &FaultyFileSystem::create_error, EROFS, "Read-only file system"},
                      Fault{"denied", &FaultyFileSystem::create_error, EACCES, "Permission denied"},
                      Fault{"nomkdir", &FaultyFileSystem::mkdir_error, EROFS,
                            "cannot be made: Read-only file system"},
                      Fault{"norename", &FaultyFileSystem::rename_error, EIO, "Input/output error"}),
    [](const auto& test) { return test.param.what; });

TEST_F(JitCache, FullDiskBetweenTheFilesOfAnEntry) {
  for (int written = 0; written < 3; ++written) {
    files.write_error = ENOSPC;
    files.writes_before_error = written;
    EXPECT_TRUE(obtain(3)->compiled);
    EXPECT_THAT(files_with(".json"), IsEmpty());
    EXPECT_THAT(cache().entries(), IsEmpty());
  }
  for (const auto& entry : fs::directory_iterator(folder.path()))
    EXPECT_FALSE(entry.path().filename().string().starts_with("tmp-")) << entry.path();
}

TEST_F(JitCache, WithoutLocksEverythingWorks) {
  files.lock_error = ENOLCK;
  EXPECT_TRUE(obtain()->compiled);
  EXPECT_FALSE(obtain()->compiled);
  EXPECT_THAT(messages.text(), IsEmpty());
}

TEST_F(JitCache, DamagedEntriesAreCompiledAgainAndReported) {
  obtain();
  const std::string cubin = files_with(".cubin").at(0), json = files_with(".json").at(0);
  const std::string good_cubin = content(cubin), good_json = content(json);
  const auto flipped = [](std::string text, std::size_t at) {
    text[at] = static_cast<char>(text[at] ^ 4);
    return text;
  };
  struct Damage {
    std::string path, content;
  };
  const Damage damages[] = {{cubin, good_cubin.substr(0, 100)},
                            {cubin, ""},
                            {cubin, flipped(good_cubin, 4000)},
                            {json, good_json.substr(0, good_json.size() / 2)},
                            {json, flipped(good_json, good_json.find("registers") + 13)},
                            {json, "{}"},
                            {json, "[]"},
                            {json, ""}};
  for (const Damage& damage : damages) {
    overwrite(damage.path, damage.content);
    Messages said;
    CompilerSettings settings = tiny_settings(folder.path(), said);
    const auto binary = Compiler(settings).obtain(tiny(2));
    EXPECT_TRUE(binary->compiled) << damage.content.size();
    EXPECT_EQ(binary->entry.code, good_cubin);
    EXPECT_THAT(said.text(), HasSubstr("the entry is not used"));
    EXPECT_EQ(content(cubin), good_cubin) << "it is whole again";
    EXPECT_FALSE(obtain()->compiled);
  }
  fs::remove(cubin);
  EXPECT_TRUE(obtain()->compiled);
}

TEST_F(JitCache, AForeignEntryUnderTheNameIsNotUsed) {
  obtain(2);
  obtain(3);
  const std::vector<std::string> records = files_with(".json"), cubins = files_with(".cubin");
  ASSERT_EQ(records.size(), 2u);
  const std::string stem = records[0].substr(0, records[0].size() - 5);
  const std::string other = records[1].substr(0, records[1].size() - 5);
  overwrite(stem + ".json", content(other + ".json"));
  overwrite(stem + ".cubin", content(other + ".cubin"));
  EXPECT_TRUE(obtain(2)->compiled || obtain(3)->compiled);
  EXPECT_THAT(messages.text(), HasSubstr("belongs to another entry"));
}

TEST_F(JitCache, VersionsOfTheLibraryShareADirectory) {
  obtain();
  const Header changed[] = {kTinyHeaders[0], {"tiny.cuh", "// another version\n"}, kTinyHeaders[2]};
  CompilerSettings settings = tiny_settings(folder.path(), messages);
  settings.headers = changed;
  Compiler newer(settings);
  EXPECT_TRUE(newer.obtain(tiny(2))->compiled) << "other sources, other key";
  EXPECT_FALSE(newer.obtain(tiny(2))->compiled);
  EXPECT_FALSE(obtain()->compiled);
  EXPECT_EQ(cache().entries().size(), 2u);
}

TEST_F(JitCache, CodeOfAnotherCompilerVersionServesWhereItMay) {
  obtain();
  // As if NVRTC 12.0 had made it.
  for (const auto& entry : fs::directory_iterator(folder.path())) fs::remove(entry.path());
  Cache store = cache();
  Entry older;
  older.record.name = {"tiny", Compiler(tiny_settings("", messages)).source_key(tiny(2)), 12000};
  older.code = "older";
  older.record.code_sha256 = sha256_hex("older");
  ASSERT_EQ(store.publish(older), "");
  EXPECT_EQ(obtain()->entry.code, "older");
  EXPECT_EQ(obtain(2, {.newest_nvrtc = 12999})->entry.code, "older");
  EXPECT_TRUE(obtain(2, {.newest_nvrtc = 11999})->compiled) << "a driver of CUDA 11 cannot load it";
  EXPECT_EQ(store.versions("tiny", older.record.name.source_key), (std::vector<int>{13000, 12000}));
  EXPECT_NE(obtain()->entry.code, "older") << "the newest that may serve is taken";
  EXPECT_EQ(obtain(2, {.newest_nvrtc = 12999})->entry.code, "older");
}

TEST_F(JitCache, WarmUpWantsTheCompilerAtHand) {
  obtain();
  EXPECT_FALSE(obtain(2, {.this_nvrtc = true})->compiled);
  ASSERT_EQ(::setenv("FAKE_NVRTC_MAJOR", "14", 1), 0);
  static const Nvrtc& newer = *new Nvrtc(STROBE_FAKE_NVRTC);
  ::unsetenv("FAKE_NVRTC_MAJOR");
  CompilerSettings settings = tiny_settings(folder.path(), messages);
  settings.nvrtc = []() -> const Nvrtc& { return newer; };
  EXPECT_TRUE(Compiler(settings).obtain(tiny(2), {.this_nvrtc = true})->compiled);
}

TEST_F(JitCache, SweepRemovesWhatNobodyHolds) {
  obtain();
  overwrite(folder.path() + "/tmp-1-2-3", "left behind");
  overwrite(folder.path() + "/tiny-x.lock", "999999");
  const std::string held = folder.path() + "/tmp-held";
  int descriptor = -1;
  ASSERT_EQ(files.create(held, descriptor), 0);
  ASSERT_EQ(files.try_lock(descriptor), 0);
  EXPECT_EQ(cache().sweep(), 2);
  EXPECT_TRUE(fs::exists(held)) << "somebody is writing it";
  files.close(descriptor);
  files.lock_error = ENOLCK;
  EXPECT_EQ(cache().sweep(), 0) << "without locks, what is young may be in use";
  fs::last_write_time(held, fs::file_time_type::clock::now() - std::chrono::hours(2));
  EXPECT_EQ(cache().sweep(), 1);
}

TEST_F(JitCache, TheFirstWriteSweeps) {
  obtain();
  overwrite(folder.path() + "/tmp-1-2-3", "left behind");
  obtain(3);
  EXPECT_FALSE(fs::exists(folder.path() + "/tmp-1-2-3"));
}

TEST_F(JitCache, NamesOfEntriesParseStrictly) {
  const EntryName name{"rms_norm2", std::string(kSourceKeyDigits, 'a'), 12060};
  EXPECT_EQ(name.stem(), "rms_norm2-" + std::string(kSourceKeyDigits, 'a') + "-12.6");
  EXPECT_EQ(parse_stem(name.stem()), name);
  for (const std::string& stem :
       {std::string(), std::string("tiny"), "tiny-" + std::string(31, 'a') + "-13.0",
        "tiny-" + std::string(32, 'g') + "-13.0", "../tiny-" + std::string(32, 'a') + "-13.0",
        "tiny-" + std::string(32, 'a') + "-13", "tiny-" + std::string(32, 'a') + "-013.0",
        "-" + std::string(32, 'a') + "-13.0"})
    EXPECT_FALSE(parse_stem(stem).has_value()) << stem;
}

}  // namespace
}  // namespace strobe::jit
