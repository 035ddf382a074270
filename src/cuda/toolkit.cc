#include "cuda/toolkit.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "core/message.h"

namespace strobe::cuda {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Entries of a folder whose names begin with `prefix`, in descending order; nothing when it cannot be read.
std::vector<fs::path> entries(const fs::path& folder, std::string_view prefix) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().filename().string().starts_with(prefix)) found.push_back(entry->path());
  std::sort(found.rbegin(), found.rend());
  return found;
}

void add_toolkit(std::vector<std::string>& folders, const fs::path& root) {
  for (const char* library :
       {"lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "extras/CUPTI/lib64"})
    folders.push_back(root / library);
}

void add_site_packages(std::vector<std::string>& folders, const fs::path& site, std::string_view package) {
  folders.push_back(site / "nvidia/cu13/lib");
  folders.push_back(site / "nvidia" / package / "lib");
}

// The site-packages of an environment that is rooted at `prefix`.
void add_environment(std::vector<std::string>& folders, const fs::path& prefix, std::string_view package) {
  if (prefix.empty()) return;
  for (const fs::path& python : entries(prefix / "lib", "python3"))
    for (const char* packages : {"site-packages", "dist-packages"})
      add_site_packages(folders, python / packages, package);
}

// The folder above the package that holds this library, when it lies in one.
fs::path own_site_packages() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&own_site_packages), &info) == 0 || info.dli_fname == nullptr)
    return {};
  for (fs::path folder = fs::path(info.dli_fname).parent_path(); folder.has_relative_path();
       folder = folder.parent_path())
    if (folder.filename() == "site-packages" || folder.filename() == "dist-packages") return folder;
  return {};
}

}  // namespace

std::vector<std::string> toolkit_folders(std::string_view package) {
  std::vector<std::string> folders;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string root = variable(name); !root.empty()) add_toolkit(folders, root);
  for (const fs::path& toolkit : entries("/usr/local", "cuda")) add_toolkit(folders, toolkit);
  add_environment(folders, variable("VIRTUAL_ENV"), package);
  add_environment(folders, variable("CONDA_PREFIX"), package);
  const std::string python_path = variable("PYTHONPATH");
  for (std::size_t begin = 0; begin < python_path.size();) {
    const std::size_t end = std::min(python_path.find(':', begin), python_path.size());
    if (end > begin) add_site_packages(folders, python_path.substr(begin, end - begin), package);
    begin = end + 1;
  }
  if (const fs::path own = own_site_packages(); !own.empty()) add_site_packages(folders, own, package);
  if (const std::string home = variable("HOME"); !home.empty())
    add_environment(folders, home + "/.local", package);
  add_environment(folders, "/usr/local", package);
  add_environment(folders, "/usr", package);
  // /usr/local/cuda, lib64 and targets/… are links to one another more often than not.
  std::vector<std::string> found;
  std::vector<fs::path> seen;
  for (const std::string& folder : folders) {
    std::error_code error;
    const fs::path real = fs::canonical(folder, error);
    if (error || !fs::is_directory(real, error) || std::find(seen.begin(), seen.end(), real) != seen.end())
      continue;
    seen.push_back(real);
    found.push_back(folder);
  }
  return found;
}

std::vector<std::string> library_files(const std::string& folder, std::string_view stem) {
  std::vector<std::string> files;
  for (const fs::path& file : entries(folder, stem)) files.push_back(file);
  // Longer version numbers are greater: .13 before .9; the bare name, a development link, comes last.
  std::stable_sort(files.begin(), files.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  return files;
}

ToolkitLibrary load_toolkit_library(env::Variable variable, std::string_view package,
                                    std::span<const char* const> names) {
  const std::string chosen = env::text(variable).value_or("");
  const std::string_view name = env::entry(variable).name;
  if (chosen == "none") return {.problem = fmt::format("{} is none", name)};
  const std::string first = names.front();
  const std::string stem = first.substr(0, first.find(".so") + 3);
  std::vector<std::string> candidates;
  const auto add_folder = [&](const std::string& folder) {
    for (const std::string& file : library_files(folder, stem)) candidates.push_back(file);
  };
  std::error_code error;
  if (fs::is_directory(chosen, error)) {
    add_folder(chosen);
  } else if (!chosen.empty()) {
    candidates.push_back(chosen);
  } else {
    for (const char* loaded : names)
      if (dlopen(loaded, RTLD_NOW | RTLD_NOLOAD) != nullptr) candidates.emplace_back(loaded);
    for (const std::string& folder : toolkit_folders(package)) add_folder(folder);
    candidates.insert(candidates.end(), names.begin(), names.end());
  }
  for (const std::string& candidate : candidates)
    if (void* handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL); handle != nullptr)
      return {.handle = handle};
  return {.problem = chosen.empty() ? fmt::format("no {} was found", stem)
                                    : fmt::format("{}: nothing to load in '{}'", name, chosen)};
}

}  // namespace strobe::cuda
