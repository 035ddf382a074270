// Products of large square matrices by cuBLASLt: what a GPU's tensor cores do at most.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "strobe/device.h"
#include "strobe/dtype.h"

namespace strobe::bench {

// cuBLASLt and the memory of its matrices, which hold random values of a normal distribution: zeros would be
// multiplied faster, at less power.
class MatrixProducts {
 public:
  // Loads the library (STROBE_CUBLASLT, or where CUDA is installed). Throws nothing when there is none, or
  // too little memory: `problem` says so.
  explicit MatrixProducts(Device device);
  ~MatrixProducts();

  const std::string& problem() const { return problem_; }

  // Enqueues a product of two matrices of bf16 or e4m3, accumulated in f32 and stored as bf16. False when
  // cuBLASLt has none for this GPU.
  bool enqueue(Dtype dtype, Stream stream) const;
  double operations() const;  // of one product, 2 a multiply-add

 private:
  struct State;
  void prepare(Device device);

  std::string problem_;
  std::unique_ptr<State> state_;
};

}  // namespace strobe::bench
