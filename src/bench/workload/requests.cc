#include "bench/workload/requests.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>

#include "bench/workload/csv.h"
#include "bench/workload/timestamp.h"
#include "core/message.h"

namespace strobe::bench {
namespace {

enum Column { kTimestamp, kContextTokens, kGeneratedTokens };
constexpr std::array<std::string_view, 3> kColumns = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"};

constexpr std::string_view kTimestampForm = "YYYY-MM-DD HH:MM:SS[.fraction] or non-negative seconds";

std::string read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorKind::kIo, "{}: cannot open the request file: {}", path, std::strerror(errno));
  std::string text;
  std::array<char, 1 << 16> chunk;
  while (file.read(chunk.data(), chunk.size()) || file.gcount() > 0) {
    text.append(chunk.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (file.bad()) fail(ErrorKind::kIo, "{}: cannot read the request file: {}", path, std::strerror(errno));
  return text;
}

class RequestParser {
 public:
  explicit RequestParser(CsvReader& csv) : csv_(csv) {}

  void read_header() {
    if (!csv_.next()) csv_.fail(0, kColumns[0], "a header line", "an empty file");
    width_ = csv_.fields().size();
    for (int column : {kTimestamp, kContextTokens, kGeneratedTokens})
      field_of_[column] = find(kColumns[column]);
  }

  Request read_request() {
    check_width();
    Request request;
    request.arrival_s = arrival();
    request.context_tokens = tokens(kContextTokens, 1);
    request.generated_tokens = tokens(kGeneratedTokens, 0);
    return request;
  }

 private:
  int find(std::string_view name) const {
    int found = -1;
    for (std::size_t i = 0; i < width_; ++i) {
      if (csv_.fields()[i] != name) continue;
      if (found >= 0) csv_.fail(static_cast<int>(i), name, "each column once", "it a second time");
      found = static_cast<int>(i);
    }
    if (found < 0) {
      csv_.fail(static_cast<int>(width_), name, "this column in the header", "the end of the header");
    }
    return found;
  }

  void check_width() const {
    const std::size_t count = csv_.fields().size();
    if (count > width_) {
      csv_.fail(static_cast<int>(width_), "", fmt::format("{} fields as in the header", width_),
                quoted(csv_.fields()[width_]));
    }
    for (int column : {kTimestamp, kContextTokens, kGeneratedTokens}) {
      if (field_of_[column] >= static_cast<int>(count)) {
        csv_.fail(field_of_[column], kColumns[column], "a value", "the end of the line");
      }
    }
    if (count < width_) csv_.fail(static_cast<int>(count), "", "a value", "the end of the line");
  }

  const std::string& text(Column column) const { return csv_.fields()[field_of_[column]]; }

  [[noreturn]] void reject(Column column, std::string_view expected) const {
    csv_.fail(field_of_[column], kColumns[column], expected, quoted(text(column)));
  }

  double arrival() {
    const std::optional<Timestamp> time = parse_timestamp(text(kTimestamp));
    if (!time) reject(kTimestamp, kTimestampForm);
    if (!first_) first_ = previous_ = time;
    if (time->is_date != first_->is_date) {
      reject(kTimestamp,
             first_->is_date ? "a date and time like the lines before" : "seconds like the lines before");
    }
    if (seconds_between(*previous_, *time) < 0) reject(kTimestamp, "a time not before the previous line's");
    previous_ = time;
    return seconds_between(*first_, *time);
  }

  int tokens(Column column, int least) const {
    const std::string& digits = text(column);
    const char* end = digits.data() + digits.size();
    int value = 0;
    const auto [stop, error] = std::from_chars(digits.data(), end, value);
    if (error != std::errc() || stop != end || value < least || value > kMaxRequestTokens) {
      reject(column, fmt::format("an integer in [{}, {}]", least, kMaxRequestTokens));
    }
    return value;
  }

  CsvReader& csv_;
  std::size_t width_ = 0;
  std::array<int, kColumns.size()> field_of_{};
  std::optional<Timestamp> first_;
  std::optional<Timestamp> previous_;
};

}  // namespace

std::vector<Request> read_requests(const std::string& path) {
  const std::string text = read_file(path);
  CsvReader csv(path, text);
  RequestParser parser(csv);
  parser.read_header();
  std::vector<Request> requests;
  while (csv.next()) requests.push_back(parser.read_request());
  if (requests.empty()) csv.fail(0, kColumns[0], "a request after the header", "the end of the file");
  return requests;
}

}  // namespace strobe::bench
