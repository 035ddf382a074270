#include <fmt/format.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "op/docs.h"

namespace strobe::cli {

void add_docs(CLI::App& app, Action& action) {
  CLI::App* docs =
      app.add_subcommand("docs", "Print docs/operators.md, made from the operators' declarations");
  docs->callback([&action] {
    action = [] {
      fmt::print("{}", op::operators_page(op::registry().all()));
      return kOk;
    };
  });
}

}  // namespace strobe::cli
