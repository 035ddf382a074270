// The memory that the benchmark shares with a process: several sets of a definition's inputs and outputs,
// each tensor between guards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "op/random.h"
#include "strobe/tensor.h"
#include "trace/model.h"

namespace strobe::trace {

// One tensor of a set, or a scalar.
struct Slot {
  TensorSpec spec;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  bool is_scalar = false;
  std::size_t bytes = 0;
};

// Throws Error(kUnsupported) when a dtype is none of Strobe's or a tensor has more than six axes.
std::vector<Slot> slots_of(const std::vector<TensorSpec>& tensors, const Definition& definition,
                           const Workload& workload);

class TensorSets {
 public:
  // Throws Error(kOutOfMemory) when there is not enough.
  TensorSets(std::vector<Slot> inputs, std::vector<Slot> outputs, int sets);
  ~TensorSets();
  TensorSets(const TensorSets&) = delete;
  TensorSets& operator=(const TensorSets&) = delete;

  static std::size_t bytes_of_set(const std::vector<Slot>& inputs, const std::vector<Slot>& outputs);

  int descriptor() const { return descriptor_; }
  std::size_t bytes() const { return bytes_; }
  int sets() const { return sets_; }
  const std::vector<Slot>& inputs() const { return inputs_; }
  const std::vector<Slot>& outputs() const { return outputs_; }
  TensorView input(int set, std::size_t number) const {
    return view(inputs_[number], input_offset(set, number));
  }
  TensorView output(int set, std::size_t number) const {
    return view(outputs_[number], output_offset(set, number));
  }
  std::size_t input_offset(int set, std::size_t number) const;
  std::size_t output_offset(int set, std::size_t number) const;

  void write_guards();
  // The name of a tensor before or behind which something was written; none when all guards are whole.
  std::optional<std::string> broken_guard() const;

 private:
  TensorView view(const Slot& slot, std::size_t offset) const;
  template <class F>
  void for_each_tensor(const F& use) const;

  std::vector<Slot> inputs_, outputs_;
  std::vector<std::size_t> input_offsets_, output_offsets_;  // within a set
  std::size_t set_bytes_ = 0, bytes_ = 0;
  int sets_ = 0, descriptor_ = -1;
  std::byte* memory_ = nullptr;
};

}  // namespace strobe::trace
