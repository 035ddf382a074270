#include "trace/run/native_worker.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <list>
#include <memory>

#include "core/message.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "jit/host_compiler.h"
#include "trace/build/builder.h"
#include "trace/build/tvm_ffi.h"
#include "trace/json_text.h"
#include "trace/run/gpu_calls.h"
#include "trace/run/tensor_sets.h"

namespace strobe::trace {
namespace {

constexpr int kRequests = 3, kAnswers = 4, kMemory = 5;
constexpr int kDlCpu = 1, kDlCuda = 2;
constexpr int kNoDevice = -1;

// DLPack's dtypes, by the schema's names.
struct DlDtype {
  std::string_view name;
  std::uint8_t code, bits;
};
constexpr DlDtype kDtypes[] = {
    {"float32", 2, 32},     {"float16", 2, 16}, {"bfloat16", 4, 16}, {"float8_e4m3fn", 10, 8},
    {"float8_e5m2", 12, 8}, {"int64", 0, 64},   {"int32", 0, 32},    {"int8", 0, 8},
    {"uint8", 1, 8},        {"bool", 6, 8}};

// The arguments of a call; tensors point into `tensors` and `shapes`, which do not move.
struct Call {
  std::list<StrobeTensor> tensors;
  std::list<std::vector<std::int64_t>> shapes;
  std::vector<StrobeValue> values;
};

StrobeValue scalar(const Json& value) {
  if (value.is_boolean()) return strobe_bool(value.get<bool>());
  if (value.is_number_integer()) return strobe_int(value.get<std::int64_t>());
  return strobe_float(value.get<double>());
}

class Worker {
 public:
  Json answer(const Json& request) {
    const auto what = request.at("do").get<std::string>();
    if (what == "load") return load(request);
    if (what == "bind") return bind(request);
    if (what == "collect") return Json::object();  // outputs are where they belong
    const auto sets = request.at("sets").get<std::vector<std::size_t>>();
    if (what == "empty") return Json::object();
    return gpu_ ? run_on_gpu(what, sets) : run(sets);
  }

 private:
  Json load(const Json& request) {
    const Definition definition = read_definition(request.at("definition"), "definition");
    const Solution solution = read_solution(request.at("solution"), "solution");
    device_ = request.at("device").get<int>();
    function_ = build(definition, solution, {.python = request.at("python").get<std::string>()});
    inputs_ = request.at("inputs");
    outputs_ = request.at("outputs");
    const auto bytes = request.at("bytes").get<std::size_t>();
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, kMemory, 0);
    if (memory == MAP_FAILED) fail(ErrorKind::kIo, "the tensors cannot be mapped: {}", std::strerror(errno));
    memory_ = static_cast<char*>(memory);
    if (device_ == kNoDevice) return {{"libs", {{"compiler", compiler_text()}}}};
    gpu_ = std::make_unique<GpuCalls>(device_, std::span(static_cast<std::byte*>(memory), bytes));
    memory_ = gpu_->memory();
    return {
        {"libs", {{"driver", cuda::version_text(cuda::driver_status().version)}, {"clock", gpu_->clock()}}}};
  }

  static std::string compiler_text() {
    const jit::HostToolchain toolchain = jit::find_host_toolchain();
    return fmt::format("{} {}.{}", fmt::join(toolchain.command, " "), toolchain.version / 1000,
                       toolchain.version % 1000 / 10);
  }

  Json bind(const Json& request) {
    calls_.clear();
    for (const Json& set : request.at("sets")) {
      Call& call = *calls_.emplace_back(std::make_unique<Call>());
      for (std::size_t i = 0; i < inputs_.size(); ++i)
        call.values.push_back(
            inputs_[i].at("shape").is_null()
                ? scalar(set.at("inputs")[i].at("value"))
                : tensor(call, inputs_[i], set.at("inputs")[i].at("offset").get<std::size_t>()));
      for (std::size_t i = 0; i < outputs_.size(); ++i)
        call.values.push_back(tensor(call, outputs_[i], set.at("outputs")[i].get<std::size_t>()));
    }
    return Json::object();
  }

  StrobeValue tensor(Call& call, const Json& spec, std::size_t offset) const {
    const auto dtype = spec.at("dtype").get<std::string>();
    const auto* known = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                     [&](const DlDtype& item) { return item.name == dtype; });
    if (known == std::end(kDtypes)) fail(ErrorKind::kUnsupported, "tensors of {} are not passed on", dtype);
    std::vector<std::int64_t>& shape =
        call.shapes.emplace_back(spec.at("shape").get<std::vector<std::int64_t>>());
    return strobe_tensor(
        &call.tensors.emplace_back(StrobeTensor{.data = memory_ + offset,
                                                .device_type = gpu_ ? kDlCuda : kDlCpu,
                                                .device_index = gpu_ ? device_ : 0,
                                                .rank = static_cast<std::int32_t>(shape.size()),
                                                .dtype_code = known->code,
                                                .dtype_bits = known->bits,
                                                .dtype_lanes = 1,
                                                .shape = shape.data(),
                                                .strides = nullptr,
                                                .byte_offset = 0}));
  }

  void call(std::size_t set) const {
    const std::vector<StrobeValue>& values = calls_.at(set)->values;
    StrobeValue result = strobe_none();
    if (function_->call(values.data(), static_cast<std::int32_t>(values.size()), &result) != 0)
      throw Error(ErrorKind::kInvalidArgument, take_error());
  }

  Json run(const std::vector<std::size_t>& sets) const {
    for (const std::size_t set : sets) call(set);
    return Json::object();
  }

  Json run_on_gpu(const std::string& what, const std::vector<std::size_t>& sets) const {
    const auto call_one = [this](std::size_t set) { call(set); };
    if (what == "run") return {{"ms", gpu_->time(sets, call_one)}};
    if (what == "through")
      gpu_->run_through(sets, call_one);
    else
      gpu_->check(sets, call_one, what == "waiting");
    return Json::object();
  }

  std::shared_ptr<const NativeFunction> function_;
  Json inputs_, outputs_;
  char* memory_ = nullptr;  // shared with the arbiter, or the GPU's
  int device_ = kNoDevice;
  std::unique_ptr<GpuCalls> gpu_;
  std::vector<std::unique_ptr<Call>> calls_;  // by set
};

}  // namespace

int run_native_worker() {
  std::FILE* const requests = fdopen(kRequests, "r");
  if (requests == nullptr) {
    std::fputs("strobe trace worker is started by strobe trace run\n", stderr);
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // not to stay, stopped, behind an arbiter that was ended
  Worker worker;
  char* line = nullptr;
  std::size_t capacity = 0;
  for (ssize_t size = 0; (size = getline(&line, &capacity, requests)) > 0;) {
    Json answer;
    try {
      answer = worker.answer(parse_json({line, static_cast<std::size_t>(size)}, "request"));
    } catch (const Error& error) {
      answer = {{"error", error.what()},
                {"kind", error.kind() == ErrorKind::kUnsupported ? "unsupported" : "exception"}};
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}, {"kind", "exception"}};
    }
    const std::string text = one_line(answer) + "\n";
    for (std::string_view rest = text; !rest.empty();) {
      const ssize_t count = write(kAnswers, rest.data(), rest.size());
      if (count < 0) return 1;
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  return 0;
}

}  // namespace strobe::trace
