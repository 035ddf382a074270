// The files of tests/trace/corpus: those that are read, written again and read the same; and those that are
// refused, each with what bad/expected.txt says of it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "support/sweep.h"
#include "trace/files.h"
#include "trace/json_text.h"
#include "trace/model.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;

const fs::path kCorpus = STROBE_SOURCE_DIR "/tests/trace/corpus";

// The file's objects as they are written: one, or one a line.
std::vector<std::string> written(const fs::path& path) {
  const std::string name = path.filename(), text = read_file(path);
  const Dialect dialect = name.ends_with(".flashinfer.json") ? Dialect::kFlashInfer : Dialect::kBench;
  if (name.starts_with("definition_"))
    return {one_line(to_json(read_definition(parse_json(text, name), name, dialect)))};
  if (name.starts_with("solution_"))
    return {one_line(to_json(read_solution(parse_json(text, name), name, dialect)))};
  std::vector<std::string> lines;
  for (const Line& line : lines_of(text)) {
    const std::string where = fmt::format("{}:{}", name, line.number);
    lines.push_back(one_line(to_json(read_trace(parse_json(line.text, name, line.number), where))));
  }
  return lines;
}

std::vector<fs::path> files_of(const char* folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(kCorpus / folder))
    if (entry.path().extension() != ".txt") files.push_back(entry.path());
  return files;
}

TEST(TraceCorpus, GoodFilesAreReadAndWrittenAgain) {
  const fs::path again = fs::temp_directory_path() / "strobe_trace_corpus";
  fs::create_directories(again);
  int objects = 0;
  for (const fs::path& file : files_of("good")) {
    const std::vector<std::string> first = written(file);
    objects += static_cast<int>(first.size());
    std::string text;
    for (const std::string& line : first) text += line + "\n";
    // What the other dialect may lack cannot be read as the strict form that is written.
    if (file.filename().string().ends_with(".flashinfer.json")) continue;
    const fs::path copy = again / file.filename();
    std::ofstream(copy) << text;
    EXPECT_EQ(written(copy), first) << file;
  }
  EXPECT_GE(objects, 21);
  fs::remove_all(again);
}

TEST(TraceCorpus, BadFilesAreRefusedWithAReason) {
  std::map<std::string, std::string> expected;
  const std::string text = read_file(kCorpus / "bad/expected.txt");
  for (const Line& line : lines_of(text))
    expected.emplace(line.text.substr(0, line.text.find('\t')), line.text.substr(line.text.find('\t') + 1));
  std::size_t files = 0;
  for (const fs::path& file : files_of("bad")) {
    ++files;
    ASSERT_TRUE(expected.contains(file.filename())) << file;
    EXPECT_THAT(test::error_message([&] { written(file); }), testing::HasSubstr(expected[file.filename()]))
        << file;
  }
  EXPECT_EQ(files, expected.size());
}

}  // namespace
}  // namespace strobe::trace
