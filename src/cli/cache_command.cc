// strobe cache: what is in the kernel cache, is it whole, and moving it elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <tuple>

#include "bench/machine.h"
#include "bench/output_file.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/kernel_cache.h"
#include "core/message.h"
#include "cuda/driver.h"
#include "jit/compiler.h"
#include "jit/pack.h"
#include "jit/sha256.h"

namespace strobe::cli {
namespace {

using jit::Cache;
using jit::Entry;
using jit::EntryName;

// The cache, ready to be read, or, with `make`, to be written to.
Cache& open_cache(bool make = false) {
  Cache& cache = jit::compiler().cache();
  const bool missing = !make && !cache.directory().empty() && !std::filesystem::exists(cache.directory());
  if (missing) return cache;  // empty, which is no error
  if (const std::string problem = cache.problem(make); !problem.empty())
    fail(ErrorKind::kIo, "the kernel cache cannot be used: {}", problem);
  return cache;
}

std::string bytes(std::size_t count) { return bench::bytes_text(static_cast<double>(count)); }

int list() {
  Cache& cache = open_cache();
  std::size_t total = 0, entries = 0;
  for (const EntryName& name : cache.entries()) {
    std::string why;
    const std::optional<Entry> entry = cache.read(name, why);
    if (!entry) {
      fmt::print("damaged: {}\n", why);
      continue;
    }
    ++entries;
    total += entry->code.size();
    fmt::print("{:>9}  {:.3f} s  {} {}  {}\n", bytes(entry->code.size()), entry->record.seconds,
               name.host ? "C++" : "NVRTC", cuda::version_text(name.compiler_version),
               entry->record.description);
  }
  fmt::print("{} kernels, {} of code, in {}\n", entries, bytes(total), cache.directory());
  return kOk;
}

// Whether the code, the record and the source of an entry belong together.
std::string damage_of(Cache& cache, const EntryName& name) {
  std::string why, source;
  const std::optional<Entry> entry = cache.read(name, why);
  if (!entry) return why.empty() ? name.stem() + ".json has gone" : why;
  const std::string file = name.stem() + std::string(name.source_suffix());
  if (cache.files().read(cache.path(file), source) != 0 ||
      jit::sha256_hex(source) != entry->record.source_sha256)
    return file + " is missing or damaged";
  return "";
}

int verify() {
  Cache& cache = open_cache();
  const std::vector<EntryName> entries = cache.entries();
  std::size_t damaged = 0;
  for (const EntryName& name : entries)
    if (const std::string why = damage_of(cache, name); !why.empty()) {
      ++damaged;
      fmt::print("damaged: {}\n", why);
    }
  const std::size_t incomplete = cache.incomplete().size();
  fmt::print("{} entries, {} damaged, in {}\n", entries.size(), damaged, cache.directory());
  if (incomplete > 0)
    fmt::print("{} files of compiles that did not end; they do no harm, and prune removes them\n",
               incomplete);
  if (damaged > 0) fmt::print("A damaged entry is compiled again when it is needed; prune removes it now.\n");
  return damaged == 0 ? kOk : kFailed;
}

// Keys of all kernels that this version of the library can ask for.
std::set<std::string> known_keys() {
  std::set<std::string> keys;
  for (const jit::KernelSource* source : jit::kernel_registry().all())
    for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures)
      for (const jit::Variant& variant : jit::all_variants(*source, facts.architecture))
        keys.insert(jit::compiler().source_key(variant));
  return keys;
}

int prune(bool keep_other_versions) {
  Cache& cache = open_cache();
  const std::set<std::string> known = keep_other_versions ? std::set<std::string>{} : known_keys();
  int entries = 0;
  for (const EntryName& name : cache.entries()) {
    // Sources for the host's compiler are their users', so that any may come again.
    const bool of_another_version = !keep_other_versions && !name.host && !known.contains(name.source_key);
    if (of_another_version || !damage_of(cache, name).empty()) entries += cache.remove(name) > 0;
  }
  const int files = clear_incomplete(cache);
  fmt::print("removed {} entries and {} incomplete files from {}\n", entries, files, cache.directory());
  return kOk;
}

int clear() {
  Cache& cache = open_cache();
  int entries = 0;
  for (const EntryName& name : cache.entries()) entries += cache.remove(name) > 0;
  const int files = clear_incomplete(cache);
  std::vector<std::string> names;
  if (cache.files().list(cache.directory(), names) == 0)
    for (const std::string& name : names)
      if (name.starts_with(jit::kHeaderFolderPrefix)) std::filesystem::remove_all(cache.path(name));
  fmt::print("removed {} entries and {} incomplete files from {}\n", entries, files, cache.directory());
  return kOk;
}

int pack(const std::string& file) {
  Cache& cache = open_cache();
  const bench::OutputFile output(file);
  const std::vector<EntryName> entries = cache.entries();
  const std::string archive = jit::pack(cache, entries);
  output.write(archive);
  fmt::print("{} kernels, {}, in {}\n", entries.size(), bytes(archive.size()), file);
  return kOk;
}

int unpack(const std::string& file) {
  std::string archive;
  if (const int error = jit::file_system().read(file, archive); error != 0)
    fail(ErrorKind::kIo, "{}: {}", file, std::generic_category().message(error));
  Cache& cache = open_cache(true);
  const std::size_t entries = jit::unpack(cache, archive);
  fmt::print("{} kernels into {}\n", entries, cache.directory());
  return kOk;
}

}  // namespace

void add_cache(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("cache", "Look at the kernel cache, clean it, move it");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* doc, int (*run)()) {
    command->add_subcommand(name, doc)->callback([&action, run] { action = run; });
  };
  add("ls", "List the kernels with size, compile time and compiler", list);
  add("verify", "Check every entry against its digests; exit with 1 when one is damaged", verify);
  add("clear", "Remove all", clear);
  auto keep = std::make_shared<bool>(false);
  CLI::App* prune_command = command->add_subcommand(
      "prune", "Remove what this version of the library cannot use: damaged, incomplete, of other versions");
  prune_command->add_flag("--keep-other-versions", *keep,
                          "Keep whole entries of other versions of the library");
  prune_command->callback([&action, keep] { action = [keep] { return prune(*keep); }; });
  auto file = std::make_shared<std::string>();
  for (const auto& [name, doc, run] :
       {std::tuple("pack", "Write all entries into one file (a tar archive)", &pack),
        std::tuple("unpack", "Put the entries of a pack into the cache", &unpack)}) {
    CLI::App* one = command->add_subcommand(name, doc);
    one->add_option("file", *file, "The pack")->required();
    one->callback([&action, file, run = run] { action = [file, run] { return run(*file); }; });
  }
}

}  // namespace strobe::cli
