#include "op/call_dump.h"

#include <fmt/chrono.h>
#include <fnmatch.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "core/env.h"
#include "core/log.h"
#include "core/message.h"
#include "core/safetensors.h"
#include "cuda/capture.h"
#include "cuda/host_view.h"
#include "op/call.h"
#include "op/call_dump_format.h"

namespace strobe::op {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// What this process has written so far.
struct Spent {
  std::mutex mutex;
  std::int64_t calls = 0;
  double bytes = 0;
};
Spent spent;
std::atomic<std::uint64_t> dump_number{0};

double most_bytes() {
  const std::string text = env::text(env::Variable::kDumpMaxSizeGb).value_or("20");
  char* end = nullptr;
  const double gigabytes = std::strtod(text.c_str(), &end);
  if (*end != '\0' || !(gigabytes >= 0))
    fail(ErrorKind::kInvalidArgument, "STROBE_DUMP_MAX_SIZE_GB: expected a number of at least 0, got '{}'",
         text);
  return gigabytes * 1e9;
}

// Whether a list of patterns separated by commas has one that the name matches.
bool matches(const std::string& patterns, const std::string& name) {
  std::size_t begin = 0;
  while (begin <= patterns.size()) {
    const std::size_t end = std::min(patterns.find(',', begin), patterns.size());
    if (fnmatch(patterns.substr(begin, end - begin).c_str(), name.c_str(), 0) == 0) return true;
    begin = end + 1;
  }
  return false;
}

bool wanted(const std::string& name) {
  const auto include = env::text(env::Variable::kDumpInclude),
             exclude = env::text(env::Variable::kDumpExclude);
  return (!include || matches(*include, name)) && !(exclude && matches(*exclude, name));
}

// Takes `bytes` of what may be written; the reason when that is too much.
std::string spend(double bytes) {
  const int most_calls = env::integer(env::Variable::kDumpMaxCount, 0, 1'000'000'000, 1000);
  const double most = most_bytes();
  const std::lock_guard lock(spent.mutex);
  if (spent.calls >= most_calls) return fmt::format("STROBE_DUMP_MAX_COUNT = {} is reached", most_calls);
  if (spent.bytes + bytes > most)
    return fmt::format("its {:.3g} GB would exceed STROBE_DUMP_MAX_SIZE_GB = {:g}", bytes * 1e-9,
                       most * 1e-9);
  ++spent.calls;
  spent.bytes += bytes;
  return "";
}

// 20260131_123456_789.
std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y%m%d_%H%M%S}_{:03}", fmt::localtime(std::chrono::system_clock::to_time_t(now)), ms);
}

// In one piece: a reader finds the old text or the new one.
void write_text(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::binary);
  file << text;
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0)
    fail(ErrorKind::kIo, "{}: cannot be written", path);
}

void say(const Operator& op, const std::string& what) {
  log::write(fmt::format("strobe {}: {}", op.name, what));
}

// What the dump of a call fails with must not fail the call.
template <class F>
bool attempt(const Operator& op, const std::string& folder, F f) {
  try {
    f();
    return true;
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    say(op, fmt::format("not dumped: {}", error.what()));
    return false;
  }
}

Json attribute_value(const Attribute& attribute, const void* args) {
  const double value = attribute.get(args);
  switch (attribute.kind) {
    case AttributeKind::kBool:
      return value != 0;
    case AttributeKind::kInt:
      return static_cast<std::int64_t>(value);
    case AttributeKind::kFloat:
      if (std::isfinite(value)) return value;
      break;
    case AttributeKind::kEnum:
      break;
  }
  return attribute.text(args);
}

std::vector<std::int64_t> extents(const std::array<std::int64_t, kMaxRank>& values, int rank) {
  return {values.begin(), values.begin() + rank};
}

}  // namespace

bool CallDump::keeps(const Operand& operand) const {
  return (phase_ == Phase::kRun || operand.phase == phase_) && operand.of(args_).given();
}

std::string CallDump::description(Backend backend, std::uint64_t number) const {
  Json attributes = Json::object(), operands = Json::array();
  for (const Attribute& attribute : op_.attributes)
    if (phase_ == Phase::kRun || attribute.phase == phase_)
      attributes[attribute.name] = attribute_value(attribute, args_);
  for (const Operand& operand : op_.operands) {
    if (!keeps(operand)) continue;
    const TensorView& view = operand.of(args_);
    Json entry = {{"name", operand.name},
                  {"role", dump_format::role_name(operand.role)},
                  {"dtype", name(view.dtype)},
                  {"shape", extents(view.shape, view.rank)},
                  {"strides", extents(view.strides, view.rank)},
                  {"device", to_string(view.device)}};
    // An output that is an input: the call works in place.
    for (int other : operand.may_alias)
      if (op_.operands[static_cast<std::size_t>(other)].of(args_).data == view.data && view.size() > 0)
        entry["is"] = op_.operands[static_cast<std::size_t>(other)].name;
    operands.push_back(std::move(entry));
  }
  const Json json = {{"format", dump_format::kVersion},
                     {"operator", op_.name},
                     {"phase", dump_format::phase_name(phase_)},
                     {"backend", name(backend)},
                     {"call", number},
                     {"process", getpid()},
                     {"time", timestamp()},
                     {"attributes", std::move(attributes)},
                     {"operands", std::move(operands)}};
  return json.dump(1) + '\n';
}

void CallDump::save_inputs(Backend backend, std::uint64_t number) {
  fs::create_directories(folder_);
  std::vector<cuda::HostView> copies;
  std::vector<NamedView> tensors;
  for (const Operand& operand : op_.operands) {
    if (!keeps(operand) || operand.role == Role::kOutput) continue;
    copies.emplace_back(operand.of(args_), stream_);
    tensors.push_back({operand.name, copies.back().view()});
  }
  write_safetensors(folder_ + dump_format::kInputs, tensors);
  write_text(folder_ + dump_format::kDescription, description(backend, number));
}

std::unique_ptr<CallDump> CallDump::begin(const Operator& op, const void* args, Phase phase, Backend backend,
                                          Stream stream) {
  if (log::level() < 10 || !wanted(op.name)) return nullptr;
  std::unique_ptr<CallDump> dump(new CallDump(op, args, phase, stream));
  if (const Device device = device_of(op, args);
      device.type == DeviceType::kCuda && cuda::is_capturing(device, stream)) {
    say(op, "not dumped: its stream is being captured into a CUDA graph");
    return nullptr;
  }
  double bytes = 0;
  for (const Operand& operand : op.operands)
    if (dump->keeps(operand)) bytes += (operand.role == Role::kInOut ? 2.0 : 1.0) * operand.of(args).bytes();
  if (const std::string reason = spend(bytes); !reason.empty()) {
    say(op, "not dumped: " + reason);
    return nullptr;
  }
  const std::uint64_t number = ++dump_number;
  dump->folder_ =
      fmt::format("{}/{}_pid{}_{}{}_call{:04}/", env::text(env::Variable::kDumpDir).value_or("strobe_dumps"),
                  timestamp(), getpid(), op.name, phase == Phase::kPlan ? ".plan" : "", number);
  if (!attempt(op, dump->folder_, [&] { dump->save_inputs(backend, number); })) return nullptr;
  say(op, "inputs are in " + dump->folder_);
  return dump;
}

void CallDump::complete() {
  attempt(op_, "", [&] {
    std::vector<cuda::HostView> copies;
    std::vector<NamedView> tensors;
    for (const Operand& operand : op_.operands) {
      if (!operand.written() || operand.phase != phase_ || !operand.of(args_).given()) continue;
      copies.emplace_back(operand.of(args_), stream_);
      tensors.push_back({operand.name, copies.back().view()});
    }
    // Renamed when it is whole: a reader takes its presence for the call's success.
    const std::string path = folder_ + dump_format::kOutputs;
    write_safetensors(path + ".tmp", tensors);
    if (std::rename((path + ".tmp").c_str(), path.c_str()) != 0)
      fail(ErrorKind::kIo, "{}: cannot be written", path);
  });
}

}  // namespace strobe::op
