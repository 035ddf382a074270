// Request traces from files and from the built-in tables.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bench/workload/builtin_workload.h"
#include "bench/workload/requests.h"
#include "strobe/error.h"

namespace strobe::bench {
namespace {

std::string fixture(const std::string& name) {
  return std::string(STROBE_SOURCE_DIR) + "/tests/data/" + name;
}

// The message of the Error that `call` throws; fails the test when it throws none, or one of another kind.
template <class Call>
std::string error_of(ErrorKind kind, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

// A file in the test's temporary folder, removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text)
      : path_(testing::TempDir() + "strobe_requests_" + std::to_string(::getpid()) + ".csv") {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(ReadRequests, DatesQuotesColumnOrderAndLineEnds) {
  const std::vector<Request> requests = read_requests(fixture("requests_dates.csv"));
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(requests[0].arrival_s, 0);
  EXPECT_EQ(requests[0].context_tokens, 374);
  EXPECT_EQ(requests[0].generated_tokens, 44);
  EXPECT_NEAR(requests[1].arrival_s, 4.314579, 1e-9);
  EXPECT_EQ(requests[1].context_tokens, 396);
  EXPECT_EQ(requests[1].generated_tokens, 0);
  EXPECT_NEAR(requests[2].arrival_s, 20653.31941, 1e-9);  // the next day
  EXPECT_EQ(requests[2].context_tokens, 1'000'000);
  EXPECT_NEAR(requests[3].arrival_s, 20653.81941, 1e-9);  // 01:00 at +01:00 is 00:00 at +00:00
}

TEST(ReadRequests, SecondsAndNoFinalLineEnd) {
  const std::vector<Request> requests = read_requests(fixture("requests_seconds.csv"));
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].arrival_s, 0);
  EXPECT_EQ(requests[1].arrival_s, 0);
  EXPECT_EQ(requests[2].arrival_s, 0.75);
  EXPECT_EQ(requests[2].generated_tokens, 1'000'000);
}

TEST(ReadRequests, LeapDays) {
  const std::string header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  const TemporaryFile leap(header + "2024-02-28 23:59:59Z,1,1\n2024-03-01 00:00:00Z,1,1\n");
  EXPECT_EQ(read_requests(leap.path())[1].arrival_s, 86401);
  const TemporaryFile common(header + "2023-02-28 23:59:59,1,1\n2023-03-01 00:00:00,1,1\n");
  EXPECT_EQ(read_requests(common.path())[1].arrival_s, 1);
}

struct Malformed {
  const char* what;
  std::string text;
  std::string place;  // line, column and column name
  std::string finding;
};

std::vector<Malformed> malformed_files() {
  const std::string header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  const std::string good = "2023-11-16 18:15:46.68,374,44\n";
  const std::string time = "line 2, column 1 (TIMESTAMP)";
  const std::string context = "line 3, column 2 (ContextTokens)";
  const std::string generated = "line 3, column 3 (GeneratedTokens)";
  const auto row = [&](const std::string& line) { return header + good + line; };
  return {
      {"empty file", "", "line 1, column 1 (TIMESTAMP)", "found an empty file"},
      {"only blank lines", "\n\r\n", "line 2, column 1 (TIMESTAMP)", "found an empty file"},
      {"no header", good, "line 1, column 4 (TIMESTAMP)", "expected this column in the header"},
      {"case of a column", "Timestamp,ContextTokens,GeneratedTokens\n" + good, "line 1, column 4 (TIMESTAMP)",
       "found"},
      {"column missing", "TIMESTAMP,ContextTokens\n1,2\n", "line 1, column 3 (GeneratedTokens)",
       "end of the header"},
      {"column twice", "TIMESTAMP,ContextTokens,GeneratedTokens,ContextTokens\n1,2,3,4\n",
       "line 1, column 4 (ContextTokens)", "a second time"},
      {"no request", header, "line 1, column 1 (TIMESTAMP)", "found the end of the file"},
      {"line too short", row("2023-11-16 18:15:47,5\n"), generated, "found the end of the line"},
      {"line too long", row("2023-11-16 18:15:47,5,6,7\n"), "line 3, column 4", "found \"7\""},
      {"blank line inside", row("\n" + good), "line 3, column 1", "found an empty line"},
      {"quote not closed", row("\"2023-11-16 18:15:47,5,6\n"), "line 3, column 1",
       "expected a closing quote"},
      {"text after a quote", row("2023-11-16 18:15:47,\"5\"5,6\n"), "line 3, column 2", "expected a comma"},
      {"context not a number", row("2023-11-16 18:15:47,abc,6\n"), context, "found \"abc\""},
      {"context not an integer", row("2023-11-16 18:15:47,5.0,6\n"), context, "found \"5.0\""},
      {"context empty", row("2023-11-16 18:15:47,,6\n"), context, "found \"\""},
      {"context zero", row("2023-11-16 18:15:47,0,6\n"), context,
       "expected an integer in [1, 1000000], found \"0\""},
      {"context negative", row("2023-11-16 18:15:47,-5,6\n"), context, "found \"-5\""},
      {"context over the limit", row("2023-11-16 18:15:47,1000001,6\n"), context, "found \"1000001\""},
      {"context overflows", row("2023-11-16 18:15:47,99999999999999999999,6\n"), context, "found \"99999"},
      {"generated negative", row("2023-11-16 18:15:47,5,-1\n"), generated, "an integer in [0, 1000000]"},
      {"generated over the limit", row("2023-11-16 18:15:47,5,1000001\n"), generated, "found \"1000001\""},
      {"generated overflows", row("2023-11-16 18:15:47,5,4294967297\n"), generated, "found \"4294967297\""},
      {"unprintable", row(std::string("2023-11-16 18:15:47,5\0,6\n", 25)), context, "found \"5\\x00\""},
      {"time backwards", row("2023-11-16 18:15:46.6799,5,6\n"), "line 3, column 1 (TIMESTAMP)", "not before"},
      {"time in two forms", row("17,5,6\n"), "line 3, column 1 (TIMESTAMP)",
       "date and time like the lines before"},
      {"time empty", header + ",5,6\n", time, "found \"\""},
      {"time not a time", header + "yesterday,5,6\n", time, "found \"yesterday\""},
      {"no such month", header + "2023-13-01 00:00:00,5,6\n", time, "found \"2023-13"},
      {"no such day", header + "2023-02-29 00:00:00,5,6\n", time, "found \"2023-02-29"},
      {"no such hour", header + "2023-02-01 24:00:00,5,6\n", time, "found"},
      {"no such minute", header + "2023-02-01 23:60:00,5,6\n", time, "found"},
      {"no such second", header + "2023-02-01 23:00:60,5,6\n", time, "found"},
      {"point without fraction", header + "2023-02-01 23:00:00.,5,6\n", time, "found"},
      {"text after the time", header + "2023-02-01 23:00:00 h,5,6\n", time, "found"},
      {"seconds negative", header + "-1,5,6\n", time, "found \"-1\""},
      {"seconds overflow", header + "1e999,5,6\n", time, "found \"1e999\""},
      {"seconds nan", header + "nan,5,6\n", time, "found \"nan\""},
      {"seconds inf", header + "inf,5,6\n", time, "found \"inf\""},
      {"seconds with a unit", header + "1s,5,6\n", time, "found \"1s\""},
  };
}

TEST(ReadRequests, MalformedFilesNameLineAndColumn) {
  for (const Malformed& malformed : malformed_files()) {
    SCOPED_TRACE(malformed.what);
    const TemporaryFile file(malformed.text);
    const std::string message = error_of(ErrorKind::kIo, [&] { read_requests(file.path()); });
    EXPECT_NE(message.find(file.path() + ", line "), std::string::npos) << message;
    EXPECT_NE(message.find(malformed.place), std::string::npos) << message;
    EXPECT_NE(message.find(malformed.finding), std::string::npos) << message;
    EXPECT_NE(message.find("expected "), std::string::npos) << message;
  }
}

TEST(ReadRequests, FilesThatCannotBeRead) {
  const std::string missing = fixture("no_such_file.csv");
  EXPECT_NE(error_of(ErrorKind::kIo, [&] { read_requests(missing); }).find(missing + ": cannot open"),
            std::string::npos);
  const std::string folder = testing::TempDir();
  EXPECT_NE(error_of(ErrorKind::kIo, [&] { read_requests(folder); }).find(folder + ": cannot read"),
            std::string::npos);
}

// How far the sample's distribution function is from the table's at the grid's points, in standard deviations
// of a sample of this size; values that occur more than once make the function jump, so both sides of a jump
// are compared.
template <class Value, class Grid, class Quantiles>
double worst_deviation(std::vector<Value> sample, const Grid& grid, const Quantiles& quantiles) {
  std::sort(sample.begin(), sample.end());
  const auto size = static_cast<double>(sample.size());
  double worst = 0;
  for (std::size_t i = 1; i + 1 < grid.size(); ++i) {
    const double p = grid[i] / 4096.0;
    const auto below = std::lower_bound(sample.begin(), sample.end(), static_cast<Value>(quantiles[i]));
    const auto through = std::upper_bound(sample.begin(), sample.end(), static_cast<Value>(quantiles[i]));
    const double off =
        std::max({0.0, (below - sample.begin()) / size - p, p - (through - sample.begin()) / size});
    worst = std::max(worst, off / std::sqrt(p * (1 - p) / size));
  }
  return worst;
}

constexpr double kFiveSigma = 5;

std::vector<int> contexts_of(const std::vector<Request>& requests) {
  std::vector<int> contexts;
  for (const Request& request : requests) contexts.push_back(request.context_tokens);
  return contexts;
}

TEST(BuiltinWorkload, DrawsFollowTheTable) {
  for (const std::string_view name : workload_names()) {
    SCOPED_TRACE(name);
    const WorkloadTable& table = workload_table(name);
    const std::vector<Request> requests = builtin_workload(name, 100'000, 7);
    ASSERT_EQ(requests.size(), 100'000u);
    EXPECT_LT(worst_deviation(contexts_of(requests), context_grid(), table.context_tokens), kFiveSigma);
    EXPECT_EQ(requests.front().arrival_s, 0);
    std::vector<double> gaps_ns;
    for (std::size_t i = 1; i < requests.size(); ++i) {
      gaps_ns.push_back(std::round((requests[i].arrival_s - requests[i - 1].arrival_s) * 1e9));
    }
    EXPECT_LT(worst_deviation(gaps_ns, context_grid(), table.gap_ns), kFiveSigma);
  }
}

TEST(BuiltinWorkload, GeneratedTokensFollowTheContext) {
  for (const std::string_view name : workload_names()) {
    const WorkloadTable& table = workload_table(name);
    const std::vector<Request> requests = builtin_workload(name, 100'000, 11);
    for (int bin = 0; bin < kContextBins; ++bin) {
      SCOPED_TRACE(std::string(name) + " bin " + std::to_string(bin));
      const auto edge = [&](int b) {
        return b == kContextBins ? table.context_tokens.back() : table.context_tokens[b * 64 / kContextBins];
      };
      std::vector<int> generated;
      for (const Request& request : requests) {
        if (request.context_tokens > edge(bin) && request.context_tokens < edge(bin + 1)) {
          generated.push_back(request.generated_tokens);
        }
      }
      ASSERT_GT(generated.size(), 5'000u);
      EXPECT_LT(worst_deviation(generated, generated_grid(), table.generated_tokens[bin]), kFiveSigma);
      const auto& other = table.generated_tokens[(bin + 4) % kContextBins];
      if (name == "azure-conv") {  // the bins differ, and the comparison sees it
        EXPECT_GT(worst_deviation(generated, generated_grid(), other), kFiveSigma);
      }
    }
  }
}

TEST(BuiltinWorkload, AnotherTableIsTold) {
  const std::vector<int> contexts = contexts_of(builtin_workload("azure-code", 10'000, 7));
  EXPECT_GT(worst_deviation(contexts, context_grid(), workload_table("azure-conv").context_tokens),
            kFiveSigma);
}

TEST(BuiltinWorkload, TablesAreValid) {
  for (const std::string_view name : workload_names()) {
    const WorkloadTable& table = workload_table(name);
    EXPECT_TRUE(std::is_sorted(table.context_tokens.begin(), table.context_tokens.end()));
    EXPECT_GE(table.context_tokens.front(), 1);
    EXPECT_TRUE(std::is_sorted(table.gap_ns.begin(), table.gap_ns.end()));
    EXPECT_GE(table.gap_ns.front(), 0);
    EXPECT_LT(table.gap_ns.back(), std::int64_t{1} << 38);  // the interpolation's integers hold it
    for (const auto& row : table.generated_tokens) EXPECT_TRUE(std::is_sorted(row.begin(), row.end()));
  }
}

bool equal(const Request& a, const Request& b) {
  return a.arrival_s == b.arrival_s && a.context_tokens == b.context_tokens &&
         a.generated_tokens == b.generated_tokens;
}

TEST(BuiltinWorkload, TheSeedDecides) {
  const auto first = builtin_workload("azure-conv", 1000, 1);
  const auto again = builtin_workload("azure-conv", 1000, 1);
  const auto other = builtin_workload("azure-conv", 1000, 2);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), again.begin(), again.end(), equal));
  EXPECT_FALSE(std::equal(first.begin(), first.end(), other.begin(), other.end(), equal));
  const auto longer = builtin_workload("azure-conv", 2000, 1);  // a longer draw starts with the shorter one
  EXPECT_TRUE(std::equal(first.begin(), first.end(), longer.begin(), equal));
}

// Pins the draw: it must be the same on every architecture and compiler, so that reported workloads compare.
TEST(BuiltinWorkload, DrawIsTheSameOnEveryMachine) {
  const std::vector<Request> expected = {{0, 1182, 606}, {0.100290495, 975, 412}, {0.48221293, 1032, 395}};
  const std::vector<Request> drawn = builtin_workload("azure-conv", 3, 1);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_DOUBLE_EQ(drawn[i].arrival_s, expected[i].arrival_s);
    EXPECT_EQ(drawn[i].context_tokens, expected[i].context_tokens);
    EXPECT_EQ(drawn[i].generated_tokens, expected[i].generated_tokens);
  }
}

TEST(BuiltinWorkload, BadNamesAndCounts) {
  const std::string message =
      error_of(ErrorKind::kInvalidArgument, [] { builtin_workload("azure-chat", 1, 0); });
  EXPECT_NE(message.find("azure-conv, azure-code"), std::string::npos) << message;
  EXPECT_NE(message.find("\"azure-chat\""), std::string::npos) << message;
  EXPECT_NE(error_of(ErrorKind::kInvalidArgument, [] { builtin_workload("azure-conv", -1, 0); }).find("-1"),
            std::string::npos);
  EXPECT_TRUE(builtin_workload("azure-conv", 0, 0).empty());
}

}  // namespace
}  // namespace strobe::bench
