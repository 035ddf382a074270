// apply() at run time: calls of definitions, routed to the solutions that the table names.
//
// A call reads its arguments (signature.h), finds sizes and device in a hash map without a lock, and has the
// solution. What a size is routed to is decided when it is first seen, without a device and without files, so
// that any call may be captured in a CUDA graph.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "strobe/apply.h"
#include "trace/apply/signature.h"
#include "trace/apply/table.h"
#include "trace/data_set.h"

namespace strobe::trace {

// A solution's code in this process, in tvm-ffi's calling convention: inputs, then outputs.
struct NativeCode {
  StrobeKernel call = nullptr;
  void* self = nullptr;
  std::shared_ptr<const void> owner;
};

// What some sizes on some device are routed to.
struct RoutedCall {
  CallKey key;
  Choice choice;
  const NativeCode* native = nullptr;  // null: nothing, or the host runs the solution (Python)
  int solution = -1;                   // the solution's number in the runtime
  mutable std::atomic<std::uint64_t> calls = 0;
};

class ApplyRuntime;

class RoutedDefinition {
 public:
  RoutedDefinition(const ApplyRuntime& runtime, std::string name);
  ~RoutedDefinition();

  // The route of these arguments, counted; null when they are not as the definition says. No error, no lock
  // and no allocation but for sizes that are new.
  const RoutedCall* look_up(std::span<const StrobeValue> arguments) const;

  // Counts a call that the host has not brought here, since the definition does not cover it.
  void refuse(const std::string& reason) const;

  const std::string& name() const { return name_; }
  const Signature* signature() const { return signature_.get(); }
  Json statistics() const;

 private:
  static constexpr std::size_t kSlots = 4096;  // a power of two
  static constexpr std::size_t kReasons = 64;  // of refusals that are told apart
  const RoutedCall* find(const CallKey& key, std::size_t hash) const noexcept;
  const RoutedCall* decide(const CallKey& key, std::size_t hash) const;
  void count_mismatch(const Signature::Reading& reading, std::span<const StrobeValue> arguments) const;

  const ApplyRuntime& runtime_;
  std::string name_, unusable_;  // why no call can be routed; empty otherwise
  const Definition* definition_ = nullptr;
  std::unique_ptr<const Signature> signature_;
  std::unique_ptr<std::atomic<RoutedCall*>[]> slots_;  // open addressing; what is in stays
  mutable std::mutex mutex_;                           // of writers
  mutable std::size_t used_ = 0;
  // Sizes beyond what the slots hold are decided anew by each call; these count them, and have the solution.
  mutable std::map<std::pair<Route, int>, std::unique_ptr<RoutedCall>> unkept_;
  mutable std::array<std::atomic<std::uint64_t>, kMismatchCount> mismatches_{};
  mutable std::atomic<std::uint64_t> unknown_ = 0;
  mutable std::string example_;  // of the first mismatch
  mutable std::map<std::string, std::uint64_t> refused_;
};

class ApplyRuntime {
 public:
  // `host_languages` are those that the caller runs itself. Reads the data set, and builds what wins on the
  // hardware of this process. Throws Error(kIo) when the data set cannot be read.
  ApplyRuntime(const ApplyOptions& options, std::set<std::string> host_languages);
  ~ApplyRuntime();  // writes the statistics where STROBE_APPLY_STATISTICS asks for them
  ApplyRuntime(const ApplyRuntime&) = delete;
  ApplyRuntime& operator=(const ApplyRuntime&) = delete;

  // The same for every caller; lives as long as the runtime. One of an unknown name routes nothing.
  const RoutedDefinition& definition(const std::string& name) const;

  // The following three belong before the first call.
  // A function of this process as the code of a solution. Throws Error(kInvalidArgument) when there is none
  // of that name.
  void provide(const std::string& solution, const NativeCode& code);
  // Takes a solution out, since the host cannot run it.
  void refuse(const std::string& solution, const std::string& reason);
  // The solutions that win somewhere and that the host is to run.
  std::vector<const Solution*> winners_of_host() const;

  const DataSet& data_set() const { return set_; }
  const ApplyTable& table() const { return table_; }
  std::string hardware_of(Device device) const;
  const NativeCode* native(const Solution& solution) const;
  int number_of(const Solution& solution) const;
  std::vector<std::string> hardware() const { return hardware_; }
  Json statistics() const;

 private:
  void settle();
  std::optional<std::string> unusable(const Solution& solution);

  ApplyOptions options_;
  std::set<std::string> host_languages_;
  std::set<std::string> problems_;  // files that could not be read, with what is wrong
  DataSet set_;
  ApplyTable table_;
  std::vector<std::string> hardware_;  // of this process, each once
  std::map<const Solution*, NativeCode> native_;
  std::map<std::string, std::string> refused_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::unique_ptr<RoutedDefinition>> definitions_;
};

}  // namespace strobe::trace
