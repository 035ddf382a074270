// A data set's folder:
//
//     definitions/OP_TYPE/DEFINITION.json
//     solutions/AUTHOR/OP_TYPE/DEFINITION/SOLUTION.json
//     workloads/OP_TYPE/DEFINITION.jsonl                one workload trace a line
//     traces/AUTHOR/OP_TYPE/DEFINITION.jsonl            one evaluated trace a line
//     blob/workloads/OP_TYPE/DEFINITION/DEFINITION_UUID.safetensors
//
// Readers take files at any depth below the four folders; writers keep to this layout.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "trace/model.h"

namespace strobe::trace {

// A file, or a line of one, that could not be taken.
struct Problem {
  std::filesystem::path file;  // relative to the data set
  std::string message;
};

template <class T>
struct Stored {
  T item;
  std::filesystem::path file;  // relative to the data set
  int line = 0;                // of a JSONL file, from 1
};

class DataSet {
 public:
  // Reads the folder. What is malformed goes to `on_problem` and is left out; without one it throws
  // Error(kIo), as does a folder that is not there. Two definitions or solutions of one name are a problem.
  explicit DataSet(std::filesystem::path root, Dialect dialect = Dialect::kBench,
                   const std::function<void(Problem)>& on_problem = {});

  const std::filesystem::path& root() const { return root_; }
  const std::map<std::string, Stored<Definition>>& definitions() const { return definitions_; }
  const std::map<std::string, Stored<Solution>>& solutions() const { return solutions_; }
  const std::vector<Stored<Trace>>& workloads() const { return workloads_; }
  const std::vector<Stored<Trace>>& traces() const { return traces_; }

  const Definition* definition(std::string_view name) const;
  const Solution* solution(std::string_view name) const;
  std::vector<const Solution*> solutions_of(std::string_view definition) const;
  std::vector<const Workload*> workloads_of(std::string_view definition) const;
  std::vector<const Trace*> traces_of(std::string_view definition) const;

  // Each writes its file and takes the object in. A definition or a solution of that name that is there
  // already, a solution or trace of an unknown definition: Error(kInvalidArgument).
  void add(const Definition& definition);
  void add(const Solution& solution);
  void add(const Trace& trace);  // a workload, or an evaluation by a solution that is known

  // The machines of the traces, and to forget the traces of all others (in memory only).
  std::vector<std::string> hardware() const;
  void keep_traces_on(std::string_view hardware);

  // Where the layout wants them, relative to the data set.
  static std::filesystem::path place_of(const Definition& definition);
  std::filesystem::path place_of(const Solution& solution) const;
  std::filesystem::path place_of(const Trace& trace) const;
  std::filesystem::path blob_place(std::string_view definition, std::string_view uuid) const;

 private:
  std::filesystem::path root_;
  std::map<std::string, Stored<Definition>> definitions_;
  std::map<std::string, Stored<Solution>> solutions_;
  std::vector<Stored<Trace>> workloads_, traces_;
};

}  // namespace strobe::trace
