// strobe replay: calls that the log has kept, made again and compared.
#include <fmt/format.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/device_flag.h"
#include "core/message.h"
#include "op/call_replay.h"

namespace strobe::cli {
namespace {

struct ReplayFlags {
  std::string path;
  std::string device = "cpu";
};

std::string folder_name(const std::string& folder) {
  const std::size_t end = folder.find_last_not_of('/');
  return folder.substr(folder.rfind('/', end) + 1, end - folder.rfind('/', end));
}

std::string check_text(std::string_view what, const op::CheckResult& check) {
  if (!check.passed) return fmt::format("{}: FAIL, {}", what, check.worst);
  return fmt::format("{}: pass (max error {:.2g} over {} elements)", what, check.max_abs_error,
                     check.elements);
}

// Prints what came of one call; whether it is as it should be.
bool print_result(const op::DumpedCall& call, const op::ReplayResult& result) {
  if (call.phase == op::Phase::kPlan) {
    fmt::print("  planned\n");
    return true;
  }
  bool good = result.against_fp64->passed;
  if (!call.completed)
    fmt::print("  the dumped call did not come to its end; this one did\n");
  else if (*result.same_bits)
    fmt::print("  against the dump: the same bits\n");
  else
    fmt::print("  {}\n", check_text("against the dump: other bits", *result.against_dump));
  if (result.against_dump) good = good && result.against_dump->passed;
  fmt::print("  {}\n", check_text("against FP64", *result.against_fp64));
  return good;
}

bool replay_one(const std::string& folder, Device device) {
  fmt::print("{}\n", folder_name(folder));
  std::fflush(stdout);  // a call that crashes is named
  try {
    op::DumpedCall call = op::load_dumped_call(folder);
    return print_result(call, op::replay(call, device));
  } catch (const Error& error) {
    fmt::print("  error: {}\n", error.what());
    return false;
  }
}

int replay_all(const ReplayFlags& flags) {
  const Device device = parse_device(flags.device);
  const std::vector<std::string> folders = op::find_dumped_calls(flags.path);
  std::size_t bad = 0;
  for (const std::string& folder : folders) bad += !replay_one(folder, device);
  fmt::print("{} calls replayed on {}, {} failed\n", folders.size(), to_string(device), bad);
  return bad == 0 ? kOk : kFailed;
}

}  // namespace

void add_replay(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ReplayFlags>();
  CLI::App* command = app.add_subcommand(
      "replay",
      "Make calls again that STROBE_LOGLEVEL=10 has dumped, and compare with the dump and with FP64");
  command->add_option("dir", flags->path, "The dump of a call, or a folder of such dumps")->required();
  command->add_option("--device", flags->device, "cpu, cuda or cuda:<number>")->capture_default_str();
  command->callback([&action, flags] { action = [flags] { return replay_all(*flags); }; });
}

}  // namespace strobe::cli
