#include "cli/cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

#include "cli/commands.h"
#include "strobe/error.h"

namespace strobe::cli {
namespace {

int report(const std::string& message, int status) {
  std::fflush(stdout);  // what is finished comes first
  fmt::print(stderr, "strobe: {}\n", message);
  return status;
}

int parse_and_run(std::vector<std::string> words) {
  CLI::App app("Kernels for LLM inference: benchmark, kernel cache, environment, documentation.", "strobe");
  app.set_version_flag("--version", "strobe " STROBE_VERSION);
  app.require_subcommand(1);
  Action action;
  add_bench(app, words, action);
  add_doctor(app, action);
  add_docs(app, action);
  add_replay(app, action);
  add_warmup(app, action);
  add_cache(app, action);
  add_trace(app, action);
  try {
    std::reverse(words.begin(), words.end());  // as CLI11 takes them
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    const bool asked = error.get_exit_code() == 0;  // --help, --version
    if (asked) return app.exit(error);
    return report(fmt::format("{} (strobe --help shows what there is)", error.what()), kUsage);
  }
  return action();
}

}  // namespace

int run(const std::vector<std::string>& words) noexcept {
  try {
    const int status = parse_and_run(words);
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
    return report(fmt::format("standard output cannot be written: {}", std::strerror(errno)), kFailed);
  } catch (const Error& error) {
    return report(error.what(), error.kind() == ErrorKind::kInvalidArgument ? kUsage : kFailed);
  } catch (const std::bad_alloc&) {
    return report("out of memory", kFailed);
  } catch (const std::exception& error) {
    return report(error.what(), kFailed);
  }
}

}  // namespace strobe::cli
