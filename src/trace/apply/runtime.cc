#include "trace/apply/runtime.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/env.h"
#include "core/message.h"
#include "cpu/model_name.h"
#include "cuda/device.h"
#include "trace/apply/native.h"
#include "trace/files.h"
#include "trace/json_text.h"

namespace strobe::trace {
namespace {

std::size_t hash_of(const CallKey& key, std::size_t axes) noexcept {
  std::uint64_t hash = 0x9e3779b97f4a7c15ull ^ static_cast<std::uint64_t>(key.device.index) << 8 ^
                       static_cast<std::uint64_t>(key.device.type);
  for (std::size_t i = 0; i < axes; ++i) {
    hash = (hash ^ static_cast<std::uint64_t>(key.axes[i])) * 0xff51afd7ed558ccdull;
    hash ^= hash >> 32;
  }
  return hash;
}

std::string with_process_id(std::string file) {
  if (const std::size_t at = file.find("%i"); at != std::string::npos)
    file.replace(at, 2, std::to_string(getpid()));
  return file;
}

TableOptions table_options(const ApplyOptions& options) {
  return {.on_miss = static_cast<MissPolicy>(options.on_miss),
          .nearest_octaves = options.nearest_octaves,
          .max_absolute_error = options.max_absolute_error,
          .max_relative_error = options.max_relative_error};
}

}  // namespace

RoutedDefinition::RoutedDefinition(const ApplyRuntime& runtime, std::string name)
    : runtime_(runtime), name_(std::move(name)), definition_(runtime.data_set().definition(name_)) {
  if (definition_ == nullptr) {
    unusable_ = "the data set has no such definition";
    return;
  }
  try {
    signature_ = std::make_unique<const Signature>(*definition_);
    slots_ = std::make_unique<std::atomic<RoutedCall*>[]>(kSlots);
  } catch (const Error& error) {
    unusable_ = error.what();
  }
}

RoutedDefinition::~RoutedDefinition() {
  if (slots_ != nullptr)
    for (std::size_t i = 0; i < kSlots; ++i) delete slots_[i].load();
}

const RoutedCall* RoutedDefinition::look_up(std::span<const StrobeValue> arguments) const {
  if (signature_ == nullptr) {
    unknown_.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  CallKey key;
  if (const Signature::Reading reading = signature_->read(arguments, key);
      reading.mismatch != Mismatch::kNone) {
    count_mismatch(reading, arguments);
    return nullptr;
  }
  const std::size_t hash = hash_of(key, signature_->axes());
  const RoutedCall* routed = find(key, hash);
  if (routed == nullptr) routed = decide(key, hash);
  routed->calls.fetch_add(1, std::memory_order_relaxed);
  return routed;
}

const RoutedCall* RoutedDefinition::find(const CallKey& key, std::size_t hash) const noexcept {
  for (std::size_t at = hash & (kSlots - 1);; at = (at + 1) & (kSlots - 1)) {
    const RoutedCall* routed = slots_[at].load(std::memory_order_acquire);
    if (routed == nullptr || routed->key == key) return routed;
  }
}

const RoutedCall* RoutedDefinition::decide(const CallKey& key, std::size_t hash) const {
  const std::lock_guard lock(mutex_);
  if (const RoutedCall* routed = find(key, hash)) return routed;  // another thread was first
  const AxisValues axes(key.axes.begin(), key.axes.begin() + static_cast<std::ptrdiff_t>(signature_->axes()));
  auto routed = std::make_unique<RoutedCall>();
  routed->key = key;
  routed->choice = runtime_.table().choose(name_, runtime_.hardware_of(key.device), axes);
  routed->choice.measured_at = nullptr;  // the table's own, which may be made anew
  if (const Solution* solution = routed->choice.solution) {
    routed->solution = runtime_.number_of(*solution);
    routed->native = runtime_.native(*solution);
  }
  if (used_ >= kSlots / 2) {  // probing stays short
    std::unique_ptr<RoutedCall>& shared = unkept_[{routed->choice.route, routed->solution}];
    if (shared == nullptr) shared = std::move(routed);
    return shared.get();
  }
  std::size_t at = hash & (kSlots - 1);
  while (slots_[at].load(std::memory_order_relaxed) != nullptr) at = (at + 1) & (kSlots - 1);
  ++used_;
  slots_[at].store(routed.get(), std::memory_order_release);
  return routed.release();
}

void RoutedDefinition::count_mismatch(const Signature::Reading& reading,
                                      std::span<const StrobeValue> arguments) const {
  const std::uint64_t before =
      mismatches_[static_cast<std::size_t>(reading.mismatch)].fetch_add(1, std::memory_order_relaxed);
  if (before != 0) return;
  const std::lock_guard lock(mutex_);
  if (example_.empty()) example_ = signature_->explain(reading, arguments);
}

void RoutedDefinition::refuse(const std::string& reason) const {
  const std::lock_guard lock(mutex_);
  ++refused_[refused_.size() < kReasons || refused_.contains(reason) ? reason : "other reasons"];
}

Json RoutedDefinition::statistics() const {
  const std::lock_guard lock(mutex_);
  std::map<Route, std::uint64_t> routes;
  Json sizes = Json::array();
  std::uint64_t calls = unknown_.load(), applied = 0;
  const auto add = [&](const RoutedCall& routed) {
    const std::uint64_t count = routed.calls.load();
    routes[routed.choice.route] += count;
    calls += count;
    if (routed.choice.solution != nullptr) applied += count;
    return count;
  };
  for (std::size_t i = 0; slots_ != nullptr && i < kSlots; ++i) {
    const RoutedCall* routed = slots_[i].load(std::memory_order_acquire);
    if (routed == nullptr) continue;
    Json axes = Json::object();
    std::size_t number = 0;
    for (const std::string& axis : variable_axes(*definition_)) axes[axis] = routed->key.axes[number++];
    const Solution* solution = routed->choice.solution;
    sizes.push_back({{"axes", axes},
                     {"device", to_string(routed->key.device)},
                     {"route", trace::name(routed->choice.route)},
                     {"solution", solution == nullptr ? Json() : Json(solution->name)},
                     {"calls", add(*routed)}});
  }
  for (const auto& [route, routed] : unkept_) add(*routed);
  Json mismatches = Json::object();
  for (int i = 1; i < kMismatchCount; ++i)
    if (const std::uint64_t count = mismatches_[static_cast<std::size_t>(i)].load()) {
      mismatches[std::string(trace::name(static_cast<Mismatch>(i)))] = count;
      calls += count;
    }
  Json by_route = Json::object();
  for (const auto& [route, count] : routes) by_route[std::string(trace::name(route))] = count;
  for (const auto& [reason, count] : refused_) calls += count;
  Json result = {{"calls", calls},
                 {"applied", applied},
                 {"routes", by_route},
                 {"mismatches", mismatches},
                 {"refused", refused_}};
  if (!example_.empty()) result["first_mismatch"] = example_;
  if (!unusable_.empty()) result["unusable"] = unusable_;
  result["sizes"] = sizes;
  return result;
}

ApplyRuntime::ApplyRuntime(const ApplyOptions& options, std::set<std::string> host_languages)
    : options_(options),
      host_languages_(std::move(host_languages)),
      set_(options.data_set, Dialect::kBench,
           [this](const Problem& problem) {
             problems_.insert(problem.file.string() + ": " + problem.message);
           }),
      table_(set_, table_options(options)) {
  hardware_.push_back(hardware_of({}));
  for (int index = 0; index < cuda::device_count(); ++index)
    hardware_.push_back(hardware_of({DeviceType::kCuda, static_cast<std::int8_t>(index)}));
  std::sort(hardware_.begin(), hardware_.end());
  hardware_.erase(std::unique(hardware_.begin(), hardware_.end()), hardware_.end());
  settle();
}

ApplyRuntime::~ApplyRuntime() {
  const std::optional<std::string> file = env::text(env::Variable::kApplyStatistics);
  if (!file) return;
  try {
    write_file(with_process_id(*file), indented(statistics()));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "strobe: apply: %s\n", error.what());
  }
}

std::string ApplyRuntime::hardware_of(Device device) const {
  if (!options_.hardware.empty()) return options_.hardware;
  return device.type == DeviceType::kCpu ? cpu::model_name() : cuda::device_facts(device).name;
}

void ApplyRuntime::settle() {
  table_ = ApplyTable(set_, table_options(options_));
  for (const std::string& hardware : hardware_)
    table_.leave_out(hardware, [this](const Solution& solution) { return unusable(solution); });
}

std::optional<std::string> ApplyRuntime::unusable(const Solution& solution) {
  if (const auto found = refused_.find(solution.name); found != refused_.end()) return found->second;
  if (native_.contains(&solution) || host_languages_.contains(solution.language)) return std::nullopt;
  try {
    native_[&solution] = native_code(*set_.definition(solution.definition), solution);
    return std::nullopt;
  } catch (const Error& error) {
    return refused_[solution.name] = error.what();
  }
}

const RoutedDefinition& ApplyRuntime::definition(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<RoutedDefinition>& definition = definitions_[name];
  if (definition == nullptr) definition = std::make_unique<RoutedDefinition>(*this, name);
  return *definition;
}

void ApplyRuntime::provide(const std::string& solution, const NativeCode& code) {
  const Solution* known = set_.solution(solution);
  if (known == nullptr)
    fail(ErrorKind::kInvalidArgument, "{}: there is no solution '{}'", options_.data_set, solution);
  native_[known] = code;
  refused_.erase(solution);
  settle();
}

void ApplyRuntime::refuse(const std::string& solution, const std::string& reason) {
  refused_[solution] = reason;
  settle();
}

std::vector<const Solution*> ApplyRuntime::winners_of_host() const {
  std::set<const Solution*> winners;
  for (const auto& [name, definition] : set_.definitions())
    for (const std::string& hardware : hardware_)
      if (const Measurements* known = table_.measurements(name, hardware))
        for (const auto& [axes, candidates] : known->by_axes)
          if (!native_.contains(candidates.front().solution)) winners.insert(candidates.front().solution);
  std::vector<const Solution*> list(winners.begin(), winners.end());
  std::sort(list.begin(), list.end(), [](const Solution* a, const Solution* b) { return a->name < b->name; });
  return list;
}

const NativeCode* ApplyRuntime::native(const Solution& solution) const {
  const auto found = native_.find(&solution);
  return found == native_.end() ? nullptr : &found->second;
}

int ApplyRuntime::number_of(const Solution& solution) const {
  const auto found = set_.solutions().find(solution.name);
  return static_cast<int>(std::distance(set_.solutions().begin(), found));
}

Json ApplyRuntime::statistics() const {
  const std::lock_guard lock(mutex_);
  Json definitions = Json::object();
  for (const auto& [name, definition] : definitions_) definitions[name] = definition->statistics();
  std::map<std::string, int> left_out;  // traces of this hardware
  for (const auto& [name, stored] : set_.definitions())
    for (const std::string& hardware : hardware_)
      if (const Measurements* known = table_.measurements(name, hardware))
        for (const auto& [reason, count] : known->left_out) left_out[reason] += count;
  return {{"data_set", set_.root().string()},
          {"hardware", hardware_},
          {"left_out", left_out},
          {"on_miss", trace::name(table_.options().on_miss)},
          {"problems", problems_},
          {"definitions", definitions}};
}

}  // namespace strobe::trace
