#include <strobe/strobe.h>

#include <algorithm>
#include <cstdio>

int main() {
  using strobe::Tensor, strobe::Dtype;
  Tensor q(Dtype::kF32, {32, 128}), k(Dtype::kF32, {1000, 8, 128}), v(Dtype::kF32, {1000, 8, 128});
  Tensor out(Dtype::kF32, {32, 128});
  for (const Tensor* t : {&q, &k, &v}) std::fill_n(t->as<float>(), t->view().size(), 0.5f);
  strobe::single_decode({.q = q, .k = k, .v = v, .out = out});
  std::printf("%g\n", out.as<float>()[0]);  // every row of v is 0.5, and so is their mean
}
