#include "op/call_replay.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/message.h"
#include "core/read.h"
#include "core/safetensors.h"
#include "core/strided_copy.h"
#include "op/call_dump_format.h"
#include "op/device_operands.h"
#include "op/operator.h"
#include "op/validate.h"

namespace strobe::op {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kCheckedRows = 64;

Json read_description(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) fail(ErrorKind::kIo, "{}: cannot be read", path);
  Json json = Json::parse(text.str(), nullptr, false);
  if (!json.is_object()) fail(ErrorKind::kIo, "{}: is damaged: no JSON object", path);
  if (const int format = json.value("format", 0); format != dump_format::kVersion)
    fail(ErrorKind::kIo, "{}: expected format {}, got {}", path, dump_format::kVersion, format);
  return json;
}

void set_attribute(const Attribute& attribute, void* args, const Json& value) {
  if (value.is_boolean()) return attribute.set(args, value.get<bool>() ? 1 : 0);
  if (value.is_number()) return attribute.set(args, value.get<double>());
  const auto text = value.get<std::string>();
  if (attribute.kind == AttributeKind::kFloat) return attribute.set(args, std::stod(text));  // nan, inf
  const auto choice = std::find(attribute.choices.begin(), attribute.choices.end(), text);
  if (choice == attribute.choices.end())
    fail(ErrorKind::kIo, "attribute {}: expected one of {}, got '{}'", attribute.name,
         fmt::join(attribute.choices, ", "), text);
  attribute.set(args, static_cast<double>(choice - attribute.choices.begin()));
}

// Memory of its own for a view of these strides, gaps included.
TensorView allocate(Problem& problem, Dtype dtype, const std::vector<std::int64_t>& shape,
                    const std::vector<std::int64_t>& strides) {
  if (shape.size() != strides.size() || shape.size() > kMaxRank)
    fail(ErrorKind::kIo, "expected as many strides as axes, {} at most, got shape [{}] and strides [{}]",
         kMaxRank, fmt::join(shape, ", "), fmt::join(strides, ", "));
  TensorView view(nullptr, dtype, shape, strides);
  const Span span = span_of(view);
  problem.tensors.emplace_back(dtype, std::initializer_list<std::int64_t>{span.elements()});
  fill_poison(problem.tensors.back());
  view.data = problem.tensors.back().as<char>() - span.low * static_cast<std::int64_t>(size_of(dtype));
  return view;
}

void set_operand(DumpedCall& call, const Operand& operand, const Json& entry,
                 const std::map<std::string, Tensor>& inputs) {
  void* args = call.problem.args.get();
  const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
  const auto strides = entry.at("strides").get<std::vector<std::int64_t>>();
  const Dtype dtype = parse_dtype(entry.at("dtype").get<std::string>());
  if (entry.contains("is")) {
    const int other = call.op->operand(entry.at("is").get<std::string>());
    operand.view(args) = call.op->operands[static_cast<std::size_t>(other)].of(args);
    return;
  }
  const TensorView view = allocate(call.problem, dtype, shape, strides);
  operand.view(args) = view;
  if (operand.role == Role::kOutput) return;
  const auto input = inputs.find(operand.name);
  if (input == inputs.end() || input->second.view().dtype != dtype ||
      !std::equal(shape.begin(), shape.end(), input->second.view().shape.begin()))
    fail(ErrorKind::kIo, "{} holds no {} of {}", dump_format::kInputs, operand.name, describe(view));
  strided_copy(input->second, view);
}

void restore(DumpedCall& call, const Json& json) {
  Problem& problem = call.problem;
  problem.op = call.op;
  problem.args = call.op->make_args();
  for (const auto& [name, value] : json.at("attributes").items())
    for (const Attribute& attribute : call.op->attributes)
      if (attribute.name == name) set_attribute(attribute, problem.args.get(), value);
  const auto inputs = read_safetensors(call.folder + dump_format::kInputs);
  for (const Json& entry : json.at("operands"))
    set_operand(
        call,
        call.op->operands[static_cast<std::size_t>(call.op->operand(entry.at("name").get<std::string>()))],
        entry, inputs);
  bind_calls(problem, call.phase);
}

bool same_bits(const TensorView& view, const Tensor& saved) {
  Tensor dense(view.dtype, std::span(view.shape.data(), static_cast<std::size_t>(view.rank)));
  strided_copy(view, dense);
  return dense.view().bytes() == saved.view().bytes() &&
         std::memcmp(dense.as<void>(), saved.as<void>(), static_cast<std::size_t>(saved.view().bytes())) == 0;
}

// All elements of the dumped outputs, as the check expects them.
Expected expected_of(const DumpedCall& call) {
  Expected expected;
  for (const auto& [name, tensor] : call.outputs) {
    ExpectedOutput output{.operand = call.op->operand(name), .rows = {}, .values = {}};
    for (std::int64_t row = 0; row < (tensor.view().rank > 0 ? tensor.view().shape[0] : 0); ++row)
      output.rows.push_back(row);
    for_each_element(tensor, [&](double value) { output.values.push_back(value); });
    expected.push_back(std::move(output));
  }
  return expected;
}

}  // namespace

std::vector<std::string> find_dumped_calls(const std::string& path) {
  const auto holds_call = [](const fs::path& folder) {
    return fs::exists(folder / dump_format::kDescription);
  };
  if (holds_call(path)) return {(fs::path(path) / "").string()};
  std::vector<std::string> folders;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error))
    if (holds_call(entry.path())) folders.push_back((entry.path() / "").string());
  if (error) fail(ErrorKind::kIo, "{}: cannot be read: {}", path, error.message());
  if (folders.empty())
    fail(ErrorKind::kIo, "{}: expected dumped calls (folders with a {}), found none", path,
         dump_format::kDescription);
  std::sort(folders.begin(), folders.end());  // names begin with the time
  return folders;
}

DumpedCall load_dumped_call(const std::string& folder) {
  DumpedCall call;
  call.folder = folder;
  const std::string path = folder + dump_format::kDescription;
  const Json json = read_description(path);
  try {
    const auto name = json.at("operator").get<std::string>();
    call.op = registry().find(name);
    if (call.op == nullptr) fail(ErrorKind::kInvalidArgument, "this library has no operator '{}'", name);
    call.phase = json.at("phase").get<std::string>() == dump_format::phase_name(Phase::kPlan) ? Phase::kPlan
                                                                                              : Phase::kRun;
    restore(call, json);
    call.completed = fs::exists(folder + dump_format::kOutputs);
    if (call.completed) call.outputs = read_safetensors(folder + dump_format::kOutputs);
  } catch (const Json::exception& error) {
    fail(ErrorKind::kIo, "{}: is damaged: {}", path, error.what());
  } catch (const std::out_of_range& error) {
    fail(ErrorKind::kIo, "{}: names what the operator does not have: {}", path, error.what());
  } catch (const Error& error) {
    fail(error.kind(), "{}: {}", path, error.what());
  }
  return call;
}

ReplayResult replay(DumpedCall& call, Device device) {
  ReplayResult result;
  Problem& problem = call.problem;
  if (call.phase == Phase::kPlan) {
    problem.plan();
    return result;
  }
  Random random(1);
  const Expected expected = expect(*call.op, problem.args.get(), problem.axes, kCheckedRows, random);
  run_on_device(*call.op, problem.args.get(), device, [&] {
    if (problem.plan) problem.plan();
    problem.run();
  });
  result.against_fp64 = compare(*call.op, problem.args.get(), problem.axes, expected, device.type);
  if (!call.completed) return result;
  result.same_bits = std::all_of(call.outputs.begin(), call.outputs.end(), [&](const auto& output) {
    const Operand& operand = call.op->operands[static_cast<std::size_t>(call.op->operand(output.first))];
    return same_bits(operand.of(problem.args.get()), output.second);
  });
  // The dump may have been made on a GPU: the accuracy is that of the wider of the two.
  result.against_dump =
      compare(*call.op, problem.args.get(), problem.axes, expected_of(call), DeviceType::kCuda);
  return result;
}

}  // namespace strobe::op
