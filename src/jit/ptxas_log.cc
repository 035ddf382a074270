#include "jit/ptxas_log.h"

#include <algorithm>
#include <charconv>

#include "core/message.h"

namespace strobe::jit {
namespace {

// The number before `what` in the line; the default is 0 where the line is of the right kind but omits the
// item.
int number_before(std::string_view line, std::string_view what, int otherwise) {
  const std::size_t end = line.find(what);
  if (end == std::string_view::npos) return otherwise;
  std::size_t begin = end;
  while (begin > 0 && line[begin - 1] >= '0' && line[begin - 1] <= '9') --begin;
  int value = otherwise;
  std::from_chars(line.data() + begin, line.data() + end, value);
  return value;
}

bool is_warning(std::string_view line) {
  return line.find("warning") != std::string_view::npos || line.find("(C75") != std::string_view::npos;
}

template <class F>
void for_each_line(std::string_view text, F visit) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (!line.empty()) visit(line);
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

KernelFacts read_ptxas_log(std::string_view log) {
  KernelFacts facts;
  for_each_line(log, [&](std::string_view line) {
    if (is_warning(line)) facts.warnings.emplace_back(line);
    if (line.find("bytes stack frame") != std::string_view::npos) {
      // Functions that are not inlined have lines of their own.
      facts.stack_bytes = std::max(facts.stack_bytes, number_before(line, " bytes stack frame", -1));
      facts.spill_stores = std::max(facts.spill_stores, number_before(line, " bytes spill stores", 0));
      facts.spill_loads = std::max(facts.spill_loads, number_before(line, " bytes spill loads", 0));
    }
    if (line.find(" registers") != std::string_view::npos && line.find("Used ") != std::string_view::npos) {
      facts.registers = number_before(line, " registers", -1);
      facts.shared_bytes = number_before(line, " bytes smem", 0);
      facts.barriers = number_before(line, " barriers", 0);
    }
  });
  return facts;
}

std::string KernelFacts::text() const {
  return fmt::format(
      "{} registers, {} bytes of static shared memory, {} bytes of stack, {} + {} bytes spilled{}", registers,
      shared_bytes, stack_bytes, spill_stores, spill_loads,
      warnings.empty() ? "" : fmt::format(", {} warnings", warnings.size()));
}

std::string first_diagnostic(std::string_view log) {
  std::string first, first_error;
  for_each_line(log, [&](std::string_view line) {
    if (first.empty()) first = line;
    const bool is_error =
        line.find("error") != std::string_view::npos || line.find("fatal") != std::string_view::npos;
    if (is_error && first_error.empty()) first_error = line;
  });
  return first_error.empty() ? first : first_error;
}

}  // namespace strobe::jit
