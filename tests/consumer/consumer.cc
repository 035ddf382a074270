// A program that uses Strobe from outside: `consumer [STROBE]` runs an operator, expects an error as one is
// due, and, given the strobe command, compares the routines that it lists with those that this program has
// linked.
#include <strobe/strobe.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

bool check(bool ok, const char* what) {
  std::printf("%s: %s\n", what, ok ? "ok" : "FAILED");
  return ok;
}

// A row of 3 and 4 has the root mean square sqrt(12.5).
bool operator_runs() {
  float input[] = {3, 4}, weight[] = {1, 2}, out[2] = {};
  strobe::rmsnorm({.input = {input, strobe::Dtype::kF32, {1, 2}},
                   .weight = {weight, strobe::Dtype::kF32, {2}},
                   .out = {out, strobe::Dtype::kF32, {1, 2}},
                   .eps = 0});
  const float scale = 1 / std::sqrt(12.5f);
  return std::abs(out[0] - 3 * scale) < 1e-6f && std::abs(out[1] - 8 * scale) < 1e-6f;
}

// The exception crosses the library's border as the type that the header declares.
bool errors_arrive() {
  try {
    strobe::rmsnorm({});
  } catch (const strobe::Error& error) {
    return error.kind() == strobe::ErrorKind::kInvalidArgument &&
           std::strstr(error.what(), "rmsnorm: input") != nullptr;
  }
  return false;
}

bool listing_is_complete() {
  const std::vector<std::string> names = strobe::operator_names();
  return std::find(names.begin(), names.end(), "rmsnorm") != names.end() &&
         strobe::routine_names().size() >= names.size();
}

// First words of the lines that `strobe bench --list` prints.
std::vector<std::string> listed_by(const std::string& strobe) {
  std::vector<std::string> names;
  std::FILE* pipe = popen(("'" + strobe + "' bench --list").c_str(), "r");
  if (pipe == nullptr) return names;
  for (char line[4096]; std::fgets(line, sizeof line, pipe) != nullptr;)
    names.emplace_back(line, std::strcspn(line, " \t\n"));
  pclose(pipe);
  return names;
}

}  // namespace

int main(int argc, char** argv) {
  bool ok = check(operator_runs(), "an operator runs");
  ok &= check(errors_arrive(), "an error arrives");
  ok &= check(listing_is_complete(), "the listing is complete");
  if (argc > 1) ok &= check(listed_by(argv[1]) == strobe::routine_names(), "strobe bench --list is the same");
  return ok ? 0 : 1;
}
