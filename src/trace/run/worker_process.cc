#include "trace/run/worker_process.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/message.h"
#include "cuda/toolkit.h"
#include "trace/files.h"
#include "trace/run/worker_source.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;

// A path stays the same file in the folder that the process gets; a name is looked for in PATH.
std::string from_anywhere(const std::string& program) {
  return program.find('/') == std::string::npos ? program : fs::absolute(program).string();
}

Json json_of(const std::vector<Slot>& slots) {
  Json list = Json::array();
  for (const Slot& slot : slots)
    list.push_back({{"name", slot.spec.name},
                    {"dtype", slot.spec.dtype},
                    {"shape", slot.is_scalar ? Json() : Json(slot.shape)}});
  return list;
}

Json json_of(const ScalarValue& value) {
  return std::visit([](auto item) { return Json(item); }, value);
}

// Whether a source imports torch, or torch is among the dependencies.
bool uses_torch(const std::vector<SourceFile>& sources, const std::vector<std::string>& dependencies) {
  if (std::find(dependencies.begin(), dependencies.end(), "torch") != dependencies.end()) return true;
  return std::any_of(sources.begin(), sources.end(), [](const SourceFile& source) {
    return source.content.find("import torch") != std::string::npos ||
           source.content.find("from torch") != std::string::npos;
  });
}

// libcupti, which interpreters load by its path; empty when there is none.
std::string cupti_file() {
  if (const std::optional<std::string> given = env::text(env::Variable::kCupti))
    return fs::is_regular_file(*given) ? *given : "";
  for (const std::string& folder : cuda::toolkit_folders("cuda_cupti"))
    for (const std::string& file : cuda::library_files(folder, "libcupti.so")) return file;
  return "";
}

struct Entry {
  std::string file, symbol;
  bool destination_passing = true;
  bool torch = false;  // tensors of torch, else arrays of numpy
  int gpu = kNoGpu;
};

WorkerProcess::Program interpreted(const std::string& python, const std::vector<SourceFile>& sources,
                                   const Entry& entry, const std::vector<std::string>& modules) {
  return {.argv = {python, "-B", "-u", "-c", std::string(kWorkerSource)},
          .sources = sources,
          .load = {{"file", entry.file},
                   {"symbol", entry.symbol},
                   {"destination_passing", entry.destination_passing},
                   {"torch", entry.torch},
                   {"device", entry.gpu},
                   {"cupti", entry.gpu == kNoGpu ? "" : cupti_file()},
                   {"modules", modules}}};
}

}  // namespace

WorkerProcess::WorkerProcess(const Program& program, const TensorSets& sets, const ChildLimits& limits,
                             std::chrono::milliseconds timeout)
    : sets_(sets), timeout_(timeout) {
  const std::string folder = folder_.path("solution");
  fs::create_directory(folder);
  for (const SourceFile& source : program.sources) write_file(fs::path(folder) / source.path, source.content);
  std::vector<std::string> argv = program.argv;
  argv[0] = from_anywhere(argv[0]);
  child_ = std::make_unique<Child>(argv, folder, sets.descriptor(), limits);
  Json request = program.load;
  request["do"] = "load";
  request["folder"] = folder;
  request["inputs"] = json_of(sets.inputs());
  request["outputs"] = json_of(sets.outputs());
  request["bytes"] = sets.bytes();
  const Child::Answer answer = ask(request);
  for (const auto& [name, version] : answer.json["libs"].items())
    libs_.emplace_back(name, version.get<std::string>());
}

void WorkerProcess::bind(const std::vector<ScalarValue>& scalars) {
  Json sets = Json::array();
  for (int set = 0; set < sets_.sets(); ++set) {
    Json inputs = Json::array(), outputs = Json::array();
    std::size_t scalar = 0;
    for (std::size_t i = 0; i < sets_.inputs().size(); ++i)
      inputs.push_back(sets_.inputs()[i].is_scalar ? Json{{"value", json_of(scalars[scalar++])}}
                                                   : Json{{"offset", sets_.input_offset(set, i)}});
    for (std::size_t i = 0; i < sets_.outputs().size(); ++i) outputs.push_back(sets_.output_offset(set, i));
    sets.push_back({{"inputs", inputs}, {"outputs", outputs}});
  }
  ask({{"do", "bind"}, {"sets", sets}});
}

void WorkerProcess::collect() { ask({{"do", "collect"}}); }

WorkerProcess::Times WorkerProcess::ask_for(const char* what, const std::vector<int>& sets) {
  const Child::Answer answer = ask({{"do", what}, {"sets", sets}});
  Times times{.request = answer.time, .gpu_ms = {}};
  const auto listed = answer.json.find("ms");
  if (listed == answer.json.end()) return times;
  for (const Json& ms : *listed) {
    if (!ms.is_number() || !(ms.get<double>() >= 0))
      throw ChildFailure{ChildFailure::Kind::kMalformedAnswer, "its answer has a time that is none"};
    times.gpu_ms.push_back(ms.get<double>());
  }
  return times;
}

Child::Answer WorkerProcess::ask(const Json& request) {
  Child::Answer answer = child_->ask(request, timeout_);
  if (!answer.json.is_object())
    throw ChildFailure{ChildFailure::Kind::kMalformedAnswer, "its answer is no object"};
  if (const auto error = answer.json.find("error"); error != answer.json.end() && error->is_string())
    throw Misbehaved{answer.json.value("kind", "exception"), error->get<std::string>()};
  return answer;
}

WorkerProcess::Program reference_program(const std::string& python, const Definition& definition, int gpu) {
  const std::vector<SourceFile> sources = {{"main.py", definition.reference}};
  const bool torch = uses_torch(sources, {});
  return interpreted(python, sources, {"main.py", "run", false, torch, torch ? gpu : kNoGpu}, {});
}

WorkerProcess::Program python_program(const std::string& python, const Solution& solution, int gpu) {
  std::vector<std::string> modules = solution.dependencies;
  const bool compiles_kernels = solution.language != "python";  // triton, tilelang
  if (compiles_kernels) modules.push_back(solution.language);
  const bool torch = compiles_kernels || uses_torch(solution.sources, solution.dependencies);
  if (compiles_kernels && gpu == kNoGpu)
    fail(ErrorKind::kUnsupported, "solution '{}': {} needs a GPU; --device cuda:0", solution.name,
         solution.language);
  if (!torch && gpu != kNoGpu)
    fail(ErrorKind::kUnsupported, "solution '{}': it does not use torch, and so runs on the CPU",
         solution.name);
  return interpreted(python, solution.sources,
                     {std::string(solution.entry_file()), std::string(solution.entry_symbol()),
                      solution.destination_passing_style, torch, gpu},
                     modules);
}

WorkerProcess::Program native_program(const std::vector<std::string>& worker, const std::string& python,
                                      const Definition& definition, const Solution& solution, int gpu) {
  return {.argv = worker,
          .sources = {},
          .load = {{"definition", to_json(definition)},
                   {"solution", to_json(solution)},
                   {"python", from_anywhere(python)},
                   {"device", gpu}}};
}

}  // namespace strobe::trace
