// The directory of compiled kernels. Entries appear whole or not at all: each file is written under a
// temporary name, synced and renamed, the record last, and a record counts only with the code that its digest
// names. A process killed at any instant leaves at worst temporaries, which the next one that writes here
// removes.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jit/cache_entry.h"
#include "jit/file_system.h"
#include "jit/report.h"

namespace strobe::jit {

struct Entry {
  EntryRecord record;
  std::string code;    // a cubin or a shared object
  std::string source;  // the translation unit; `find` leaves it empty
};

class Cache {
 public:
  Cache(std::string directory, FileSystem& files, Report report);

  const std::string& directory() const { return directory_; }
  std::string path(std::string_view name) const { return directory_ + '/' + std::string(name); }

  // Why the directory is not used (another user owns it, others may write to it, it cannot be made); empty
  // when it is. What lies there is code. `make` creates it, for this user only, when it is not there.
  std::string problem(bool make);

  // Versions of NVRTC (or of the host's compiler) that compiled the kernel of that source, newest first.
  std::vector<int> versions(std::string_view kernel, std::string_view source_key, bool host = false);

  // The entry, its digests checked. A damaged one is reported and counts as none.
  std::optional<Entry> find(const EntryName& name);
  // Like `find`, with the source, and `why` instead of a report: "" when there is no record.
  std::optional<Entry> read(const EntryName& name, std::string& why);

  // Makes the entry durable, or reports once why not: a cache that cannot be written costs time, not
  // correctness. The message, or empty.
  std::string publish(const Entry& entry);
  // A file beside the entries (a failed translation unit, its log); the message, or empty.
  std::string write(const std::string& name, const std::string& content);

  // Removes temporaries and lock files that no living process holds.
  int sweep();

  std::vector<EntryName> entries();  // that have a record
  std::vector<std::string>
  incomplete();  // files of entries without a record, temporaries, unheld locks, failures
  int remove(const EntryName& name);  // files removed
  FileSystem& files() { return files_; }
  void report(std::string_view message) const { report_(message); }

 private:
  std::vector<std::string> names();
  bool remove_if_abandoned(const std::string& name);
  std::string examine(bool make);

  const std::string directory_;
  FileSystem& files_;
  const Report report_;
  std::mutex mutex_;
  std::optional<std::string> problem_;  // once known
  bool warned_ = false;
  bool swept_ = false;
};

// STROBE_CACHE_DIR, or strobe under XDG_CACHE_HOME or ~/.cache; empty when there is neither.
std::string cache_directory();

}  // namespace strobe::jit
