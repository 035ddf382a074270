// The tree against the lists that name its files, and the documents against the code they show.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "core/env.h"
#include "op/operator.h"
#include "strobe/operators.h"

namespace strobe {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = STROBE_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << "cannot read " << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// Files under a folder of the project with one of the extensions, as paths relative to the root, in order.
std::vector<std::string> files(const std::string& folder, const std::vector<std::string>& extensions) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
    if (std::count(extensions.begin(), extensions.end(), entry.path().extension()) > 0)
      found.push_back(fs::relative(entry.path(), kRoot).generic_string());
  std::sort(found.begin(), found.end());
  EXPECT_FALSE(found.empty()) << folder;
  return found;
}

// The first group of every match of `pattern` in `text`.
std::vector<std::string> matches(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match)
    found.push_back((*match)[1]);
  return found;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// The words of a `set(NAME …)` in CMakeLists.txt.
std::vector<std::string> cmake_list(const std::string& name) {
  const std::vector<std::string> body =
      matches(read(kRoot / "CMakeLists.txt"), ("set\\(" + name + "\\s+([^)]*)\\)").c_str());
  EXPECT_EQ(body.size(), 1u) << name;
  return body.empty() ? body : matches(body[0], "(\\S+)");
}

// Every CMake file that may name sources.
std::string cmake_text() {
  std::string text = read(kRoot / "CMakeLists.txt");
  for (const std::string& path : files("cmake", {".cmake"})) text += read(kRoot / path);
  return text;
}

TEST(Project, CMakeNamesEverySource) {
  const std::vector<std::string> families = cmake_list("STROBE_OPERATOR_FAMILIES");
  const std::vector<std::string> cuda_families = cmake_list("STROBE_CUDA_FAMILIES");
  const std::vector<std::string> named = matches(cmake_text(), "(src/[A-Za-z0-9_/]+\\.cc)");
  for (const std::string& path : files("src", {".cc"})) {
    const std::string stem = fs::path(path).stem();
    const bool cuda = stem.ends_with("_cuda") && contains(cuda_families, stem.substr(0, stem.size() - 5));
    const bool family = path.starts_with("src/ops/") && (cuda || contains(families, stem));
    EXPECT_TRUE(family || contains(named, path)) << path << " is in no list of CMakeLists.txt or cmake/";
  }
}

TEST(Project, FilesThatDeclareOperatorsAreFamilies) {
  const std::vector<std::string> families = cmake_list("STROBE_OPERATOR_FAMILIES");
  for (const std::string& path : files("src/ops", {".cc"}))
    for (const std::string& family : matches(read(kRoot / path), "void declare_([a-z0-9_]+)\\(Registry&")) {
      EXPECT_EQ(family, fs::path(path).stem()) << path << " must define declare_<its name>";
      EXPECT_TRUE(contains(families, family)) << family << " is missing in STROBE_OPERATOR_FAMILIES";
    }
}

TEST(Project, EveryFamilyDeclaresOperators) {
  for (const std::string& family : cmake_list("STROBE_OPERATOR_FAMILIES")) {
    const auto operators = op::registry().all();
    EXPECT_TRUE(std::any_of(operators.begin(), operators.end(),
                            [&](const op::Operator* op) { return op->family == family; }))
        << "no operator says that src/ops/" << family << ".cc declares it";
  }
}

TEST(Project, CMakeNamesEveryTest) {
  const std::vector<std::string> named =
      matches(read(kRoot / "tests/CMakeLists.txt"), "([A-Za-z0-9_]+_test[A-Za-z0-9_]*)");
  for (const std::string& path : files("tests", {".cc"}))
    if (path.find("_test") != std::string::npos) {
      EXPECT_TRUE(contains(named, fs::path(path).stem())) << path << " is not built";
    }
}

TEST(Project, CMakeNamesEverySuite) {
  const std::vector<std::string> list =
      matches(read(kRoot / "cmake/StrobeSuites.cmake"), "set\\(STROBE_SUITES\\s+([^)]*)\\)");
  ASSERT_EQ(list.size(), 1u);
  const std::vector<std::string> named = matches(list[0], "(\\S+)");
  for (const std::string& path : files("suites", {".json"}))
    EXPECT_TRUE(contains(named, fs::path(path).stem())) << path << " is not part of the program";
}

TEST(Project, StrobeHeaderIncludesEveryPublicHeader) {
  const std::vector<std::string> included =
      matches(read(kRoot / "include/strobe/strobe.h"), "#include \"(strobe/[^\"]+)\"");
  for (const std::string& path : files("include/strobe", {".h"})) {
    const std::string name = fs::path(path).lexically_relative("include").generic_string();
    EXPECT_TRUE(name == "strobe/strobe.h" || contains(included, name))
        << name << " is missing in strobe/strobe.h";
  }
}

TEST(Project, PublicHeadersIncludeOnlyPublicHeaders) {
  for (const std::string& path : files("include/strobe", {".h"}))
    for (const std::string& name : matches(read(kRoot / path), "#include \"([^\"]+)\""))
      EXPECT_TRUE(name.starts_with("strobe/")) << path << " includes " << name;
}

// One table knows every variable: nobody else asks the environment for one, and no text names one that is not
// there.
TEST(Project, EnvironmentVariablesComeFromTheTable) {
  std::vector<std::string> known;
  for (const env::Entry& entry : env::table()) {
    EXPECT_EQ(&env::entry(entry.variable), &entry) << entry.name << " is not at its enumerator's place";
    known.emplace_back(entry.name);
  }
  for (const std::string& path : files("src", {".cc", ".h"})) {
    if (path == "src/core/env.cc") continue;
    const std::string text = read(kRoot / path);
    EXPECT_TRUE(matches(text, "(getenv\\(\"STROBE_)").empty()) << path << " bypasses core/env.h";
    for (const std::string& name : matches(text, "\"(STROBE_[A-Z0-9_]+)"))
      EXPECT_TRUE(contains(known, name)) << path << " names " << name << ", which core/env.cc does not know";
  }
}

TEST(Project, TheReadmeShowsTheExample) {
  EXPECT_NE(read(kRoot / "README.md").find("```cpp\n" + read(kRoot / "examples/quickstart.cc") + "```"),
            std::string::npos)
      << "the cpp block of README.md and examples/quickstart.cc differ";
}

// The documents name files, folders and make targets that exist.
TEST(Project, DocumentsNameWhatExists) {
  const std::string makefile = read(kRoot / "Makefile");
  for (const char* document : {"README.md", "HACKING.md", "docs/quickstart.md", "docs/attention.md",
                               "docs/cuda.md", "docs/python.md", "docs/apply.md",
                               "docs/guides/debug-a-crash.md", "docs/guides/benchmark-a-kernel.md"}) {
    const std::string text = read(kRoot / document);
    for (const std::string& target : matches(text, "`make ([a-z0-9-]+)"))
      EXPECT_TRUE(std::regex_search(makefile, std::regex("\n(\\S+ )*" + target + "( \\S+)*:")))
          << document << " names `make " << target << "`";
    for (const std::string& link : matches(text, "\\]\\(([^)#:]+)\\)"))
      EXPECT_TRUE(fs::exists((kRoot / document).parent_path() / link)) << document << " links to " << link;
    for (const std::string& path :
         matches(text, "`((?:src|include|tests|cmake|scripts|examples|docs)/[A-Za-z0-9_./]*)`"))
      EXPECT_TRUE(fs::exists(kRoot / path)) << document << " names " << path;
  }
}

TEST(Project, ListingFollowsTheRegistry) {
  const auto operators = op::registry().all();
  const std::vector<std::string> names = operator_names();
  ASSERT_EQ(names.size(), operators.size());
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(names[i], operators[i]->name);
  std::vector<std::string> routines = routine_names();
  EXPECT_GE(routines.size(), names.size());
  std::sort(routines.begin(), routines.end());
  EXPECT_EQ(std::adjacent_find(routines.begin(), routines.end()), routines.end())
      << "two routines have one name";
}

}  // namespace
}  // namespace strobe
