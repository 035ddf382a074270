#include "jit/pack.h"

#include <algorithm>
#include <array>
#include <map>

#include "core/message.h"
#include "jit/sha256.h"
#include "jit/tar.h"

namespace strobe::jit {
namespace {

constexpr std::string_view kSums = "SHA256SUMS";

std::array<std::string_view, 3> suffixes(const EntryName& name) {
  return {".json", name.code_suffix(), name.source_suffix()};
}

[[noreturn]] void reject(const std::string& reason) {
  fail(ErrorKind::kInvalidArgument, "the pack is rejected, nothing of it is used: {}", reason);
}

// Lines as sha256sum writes them: digest, two blanks, name.
std::map<std::string, std::string> parse_sums(std::string_view text) {
  constexpr std::size_t kDigits = 64;
  std::map<std::string, std::string> sums;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.size() <= kDigits + 2 || line.substr(kDigits, 2) != "  ")
      reject(fmt::format("{} has a line '{}'", kSums, line));
    sums.emplace(line.substr(kDigits + 2), line.substr(0, kDigits));
  }
  return sums;
}

// The entry that a file belongs to. Everything but the names that we write ourselves is refused.
EntryName entry_of(const std::string& name) {
  const std::size_t dot = std::min(name.rfind('.'), name.size());
  if (auto entry = parse_stem(std::string_view(name).substr(0, dot)))
    for (const std::string_view suffix : suffixes(*entry))
      if (name.substr(dot) == suffix) return *entry;
  reject(fmt::format("'{}' is not the name of a cache entry's file", name));
}

// Contents by name, all digests checked.
std::map<std::string, std::string> checked_files(std::string_view archive) {
  std::vector<TarFile> files;
  try {
    files = read_tar(archive);
  } catch (const Error& error) {
    reject(error.what());
  }
  if (files.empty() || files.front().name != kSums) reject(fmt::format("it does not begin with {}", kSums));
  const std::map<std::string, std::string> sums = parse_sums(files.front().content);
  std::map<std::string, std::string> contents;
  for (std::size_t i = 1; i < files.size(); ++i) {
    TarFile& file = files[i];
    entry_of(file.name);
    const auto sum = sums.find(file.name);
    if (sum == sums.end()) reject(fmt::format("{} does not name '{}'", kSums, file.name));
    if (sha256_hex(file.content) != sum->second)
      reject(fmt::format("'{}' is not what {} says", file.name, kSums));
    if (!contents.emplace(file.name, std::move(file.content)).second)
      reject(fmt::format("'{}' is there twice", file.name));
  }
  if (contents.size() != sums.size())
    reject(fmt::format("{} names {} files, {} are there", kSums, sums.size(), contents.size()));
  return contents;
}

Entry entry_from(const std::map<std::string, std::string>& contents, const EntryName& name) {
  const auto content = [&](std::string_view suffix) -> const std::string& {
    const auto file = contents.find(name.stem() + std::string(suffix));
    if (file == contents.end()) reject(fmt::format("{}{} is missing", name.stem(), suffix));
    return file->second;
  };
  std::string why;
  std::optional<EntryRecord> record = parse_record(content(".json"), name, why);
  if (!record) reject(why);
  Entry entry{std::move(*record), content(name.code_suffix()), content(name.source_suffix())};
  if (sha256_hex(entry.code) != entry.record.code_sha256 ||
      sha256_hex(entry.source) != entry.record.source_sha256)
    reject(fmt::format("the files of {} do not belong together", name.stem()));
  return entry;
}

}  // namespace

std::string pack(Cache& cache, const std::vector<EntryName>& names) {
  std::vector<TarFile> files = {{std::string(kSums), ""}};
  for (const EntryName& name : names) {
    std::string why;
    if (!cache.read(name, why))
      fail(ErrorKind::kIo, "{}: {}; strobe cache verify shows all that is damaged", cache.directory(), why);
    for (const std::string_view suffix : suffixes(name)) {
      TarFile file{name.stem() + std::string(suffix), ""};
      if (cache.files().read(cache.path(file.name), file.content) != 0)
        fail(ErrorKind::kIo, "{} cannot be read", cache.path(file.name));
      files.front().content += fmt::format("{}  {}\n", sha256_hex(file.content), file.name);
      files.push_back(std::move(file));
    }
  }
  return write_tar(files);
}

std::size_t unpack(Cache& cache, std::string_view archive) {
  const std::map<std::string, std::string> contents = checked_files(archive);
  std::vector<Entry> entries;
  for (const auto& [name, content] : contents)
    if (const EntryName entry = entry_of(name); entries.empty() || !(entries.back().record.name == entry))
      entries.push_back(entry_from(contents, entry));
  for (const Entry& entry : entries)
    if (const std::string problem = cache.publish(entry); !problem.empty())
      fail(ErrorKind::kIo, "{}", problem);
  return entries.size();
}

}  // namespace strobe::jit
