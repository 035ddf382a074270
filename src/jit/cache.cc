#include "jit/cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "core/env.h"
#include "core/message.h"
#include "jit/sha256.h"

namespace strobe::jit {
namespace {

constexpr std::string_view kTemporaryPrefix = "tmp-";
constexpr std::string_view kFailedPrefix = "failed-";
constexpr std::string_view kLockSuffix = ".lock";
constexpr mode_t kOwnerOnly = 0700;
constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;
// Where locks do not work, only age tells that a temporary has been left behind.
constexpr std::int64_t kAbandonedSeconds = 3600;

std::string temporary_name() {
  static std::atomic<unsigned> number{0};
  return fmt::format("{}{}-{}-{}", kTemporaryPrefix, ::getpid(), std::time(nullptr), number++);
}

// mkdir -p, for this user only.
int make_directories(FileSystem& files, const std::string& path) {
  const int error = files.make_directory(path, kOwnerOnly);
  if (error == 0 || error == EEXIST) return 0;
  const std::size_t slash = path.rfind('/');
  if (error != ENOENT || slash == std::string::npos || slash == 0) return error;
  if (const int above = make_directories(files, path.substr(0, slash)); above != 0) return above;
  const int again = files.make_directory(path, kOwnerOnly);
  return again == EEXIST ? 0 : again;
}

// Writes, syncs and renames; the temporary is locked meanwhile, so that no sweep takes it for abandoned.
int write_file(FileSystem& files, const std::string& temporary, const std::string& path,
               const std::string& content) {
  int descriptor = -1;
  if (const int error = files.create(temporary, descriptor); error != 0) return error;
  (void)files.try_lock(descriptor);  // where locks do not work, sweeps go by age
  int error = files.write(descriptor, content);
  if (error == 0) error = files.sync(descriptor);
  if (error == 0) error = files.rename(temporary, path);
  if (error != 0) (void)files.remove(temporary);
  files.close(descriptor);
  return error;
}

}  // namespace

Cache::Cache(std::string directory, FileSystem& files, Report report)
    : directory_(std::move(directory)), files_(files), report_(std::move(report)) {}

std::string Cache::examine(bool make) {
  if (directory_.empty())
    return fmt::format("there is no place for it: {} and HOME are not set",
                       env::entry(env::Variable::kCacheDir).name);
  FileStatus status;
  int error = files_.status(directory_, status);
  if (error == ENOENT && make) {
    error = make_directories(files_, directory_);
    if (error != 0) return fmt::format("{} cannot be made: {}", directory_, std::strerror(error));
    error = files_.status(directory_, status);
  }
  if (error != 0) return fmt::format("{}: {}", directory_, std::strerror(error));
  if (!S_ISDIR(status.mode)) return fmt::format("{} is not a directory", directory_);
  if (status.owner != ::geteuid())
    return fmt::format("{} belongs to user {}, not to user {} who runs this, and what lies there is code",
                       directory_, status.owner, ::geteuid());
  if ((status.mode & kOthersWrite) != 0)
    return fmt::format(
        "{} may be written by others (mode {:o}), and what lies there is code; chmod 700 makes it usable",
        directory_, status.mode & 07777);
  return "";
}

std::string Cache::problem(bool make) {
  const std::lock_guard lock(mutex_);
  if (!problem_) {
    std::string found = examine(make);
    FileStatus status;
    const bool missing = !make && !directory_.empty() && files_.status(directory_, status) == ENOENT;
    if (missing) return found;  // it may yet be made
    problem_ = std::move(found);
  }
  if (!problem_->empty() && !warned_) {
    report_(fmt::format("the kernel cache is not used: {}", *problem_));
    warned_ = true;
  }
  return *problem_;
}

std::vector<std::string> Cache::names() {
  std::vector<std::string> found;
  if (problem(false).empty()) (void)files_.list(directory_, found);
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<int> Cache::versions(std::string_view kernel, std::string_view source_key, bool host) {
  std::vector<int> found;
  const std::string prefix = fmt::format("{}-{}-", kernel, source_key);
  for (const std::string& name : names()) {
    if (!name.starts_with(prefix) || !name.ends_with(".json")) continue;
    if (const auto entry = parse_stem(std::string_view(name).substr(0, name.size() - 5)))
      if (entry->host == host) found.push_back(entry->compiler_version);
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

std::optional<Entry> Cache::read(const EntryName& name, std::string& why) {
  why.clear();
  const std::string stem = name.stem();
  Entry entry;
  std::string text;
  if (const int error = files_.read(path(stem + ".json"), text); error != 0) {
    if (error != ENOENT) why = fmt::format("{}.json cannot be read: {}", stem, std::strerror(error));
    return {};
  }
  std::optional<EntryRecord> record = parse_record(text, name, why);
  if (!record) return {};
  entry.record = std::move(*record);
  const std::string file = stem + std::string(name.code_suffix());
  if (const int error = files_.read(path(file), entry.code); error != 0) {
    why = fmt::format("{} cannot be read: {}", file, std::strerror(error));
    return {};
  }
  if (sha256_hex(entry.code) != entry.record.code_sha256) {
    why = fmt::format(
        "{} is damaged: {} bytes with another digest than the record's, which was made of {} bytes", file,
        entry.code.size(), entry.record.code_bytes);
    return {};
  }
  return entry;
}

std::optional<Entry> Cache::find(const EntryName& name) {
  if (!problem(false).empty()) return {};
  std::string why;
  std::optional<Entry> entry = read(name, why);
  // Another process may have been between two renames of the same entry.
  if (!entry && !why.empty()) entry = read(name, why);
  if (!entry && !why.empty())
    report_(fmt::format("kernel cache {}: {}; the entry is not used", directory_, why));
  return entry;
}

std::string Cache::write(const std::string& name, const std::string& content) {
  if (std::string reason = problem(true); !reason.empty()) return reason;
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(swept_, true)) (void)sweep();
  }
  int error = write_file(files_, path(temporary_name()), path(name), content);
  // A sweep may have taken the temporary in the instant before it was locked.
  if (error == ENOENT) error = write_file(files_, path(temporary_name()), path(name), content);
  if (error == 0) return "";
  return fmt::format("{} cannot be written: {}", path(name), std::strerror(error));
}

std::string Cache::publish(const Entry& entry) {
  const std::string stem = entry.record.name.stem();
  const EntryName& name = entry.record.name;
  std::string problem = write(stem + std::string(name.source_suffix()), entry.source);
  if (problem.empty()) problem = write(stem + std::string(name.code_suffix()), entry.code);
  if (problem.empty()) problem = write(stem + ".json", to_json(entry.record));
  if (problem.empty()) {
    (void)files_.sync_folder(
        directory_);  // without it a crash of the machine may lose the entry, nothing more
    return "";
  }
  const std::lock_guard lock(mutex_);
  if (!std::exchange(warned_, true)) report_(fmt::format("compiled kernels are not kept: {}", problem));
  return problem;
}

bool Cache::remove_if_abandoned(const std::string& name) {
  int descriptor = -1;
  if (files_.open_lock(path(name), false, descriptor) != 0) return false;
  const int error = files_.try_lock(descriptor);
  bool abandoned = error == 0 && files_.is_current(descriptor, path(name));
  if (error != 0 && error != EWOULDBLOCK) {
    FileStatus status;
    abandoned =
        files_.status(path(name), status) == 0 && std::time(nullptr) - status.modified > kAbandonedSeconds;
  }
  if (abandoned) (void)files_.remove(path(name));
  if (error == 0) files_.unlock(descriptor);
  files_.close(descriptor);
  return abandoned;
}

int Cache::sweep() {
  std::vector<std::string> found;
  (void)files_.list(directory_, found);
  int removed = 0;
  for (const std::string& name : found)
    if (name.starts_with(kTemporaryPrefix) || name.ends_with(kLockSuffix))
      removed += remove_if_abandoned(name);
  return removed;
}

std::vector<EntryName> Cache::entries() {
  std::vector<EntryName> found;
  for (const std::string& name : names())
    if (name.ends_with(".json"))
      if (auto entry = parse_stem(std::string_view(name).substr(0, name.size() - 5))) found.push_back(*entry);
  return found;
}

std::vector<std::string> Cache::incomplete() {
  const std::vector<std::string> all = names();
  std::vector<std::string> found;
  for (const std::string& name : all) {
    if (name.starts_with(kTemporaryPrefix) || name.starts_with(kFailedPrefix)) {
      found.push_back(name);
      continue;
    }
    const std::size_t dot = name.rfind('.');
    if (dot == std::string::npos || !parse_stem(std::string_view(name).substr(0, dot))) continue;
    if (!std::binary_search(all.begin(), all.end(), name.substr(0, dot) + ".json")) found.push_back(name);
  }
  return found;
}

int Cache::remove(const EntryName& name) {
  int removed = 0;
  for (const std::string_view suffix : {std::string_view(".json"), name.code_suffix(), name.source_suffix()})
    removed += files_.remove(path(name.stem() + std::string(suffix))) == 0;
  return removed;
}

std::string cache_directory() {
  if (const auto chosen = env::text(env::Variable::kCacheDir)) return *chosen;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::string(cache) + "/strobe";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return std::string(home) + "/.cache/strobe";
  return "";
}

}  // namespace strobe::jit
