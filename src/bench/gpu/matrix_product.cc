#include "bench/gpu/matrix_product.h"

#include <dlfcn.h>

#include <algorithm>
#include <optional>

#include "bench/gpu/cublas_lt.h"
#include "core/message.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/toolkit.h"
#include "op/random.h"

namespace strobe::bench {
namespace {

using namespace cublas_lt;

constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
// Sides of the matrices: the first whose product takes an SM no more than so many operations (about a
// millisecond) and that leaves memory free.
constexpr std::uint64_t kSides[] = {8192, 4096, 2048, 1024};
constexpr std::uint64_t kOperationsPerSm = 11'000'000'000;
constexpr std::size_t kWorkspaceBytes = 32 << 20;
constexpr std::int64_t kDistinctValues = 1 << 20;  // then they repeat

// Every field of the table; the name of the first function that is missing, if any.
const char* resolve(void* library, Api& api) {
  const char* missing = nullptr;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr && missing == nullptr) missing = name;
  };
  find(api.cublasLtCreate, "cublasLtCreate");
  find(api.cublasLtDestroy, "cublasLtDestroy");
  find(api.cublasLtMatmulDescCreate, "cublasLtMatmulDescCreate");
  find(api.cublasLtMatmulDescDestroy, "cublasLtMatmulDescDestroy");
  find(api.cublasLtMatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute");
  find(api.cublasLtMatrixLayoutCreate, "cublasLtMatrixLayoutCreate");
  find(api.cublasLtMatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy");
  find(api.cublasLtMatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate");
  find(api.cublasLtMatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  find(api.cublasLtMatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute");
  find(api.cublasLtMatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(api.cublasLtMatmul, "cublasLtMatmul");
  return missing;
}

void check(Status status, const char* call) {
  if (status != kSuccess) fail(ErrorKind::kDriver, "cuBLASLt: {}: status {}", call, status);
}

// A matrix of random values.
cuda::DeviceBuffer random_matrix(Device device, std::int64_t elements, Dtype dtype, std::uint64_t seed) {
  const Tensor values(dtype, {std::min(elements, kDistinctValues)});
  op::Random random(seed);
  op::fill_normal(values, random);
  const auto bytes = static_cast<std::size_t>(values.view().bytes());
  const std::size_t whole = static_cast<std::size_t>(elements) * size_of(dtype);
  cuda::DeviceBuffer buffer(device, whole);
  for (std::size_t offset = 0; offset < whole; offset += bytes)
    buffer.upload({values.as<std::byte>(), std::min(bytes, whole - offset)}, offset);
  return buffer;
}

// A product of the dtype: descriptions of what is multiplied, and the way that cuBLASLt chose.
struct Product {
  const Api& api;
  MatmulDesc desc = nullptr;
  Layout factor = nullptr, result = nullptr;
  std::optional<Heuristic> chosen;
  cuda::DeviceBuffer a, b;

  Product(const Api& api, Device device, Dtype dtype, std::uint64_t side) : api(api) {
    const auto elements = static_cast<std::int64_t>(side * side);
    a = random_matrix(device, elements, dtype, 1);
    b = random_matrix(device, elements, dtype, 2);
  }
  ~Product() {
    if (result != nullptr) api.cublasLtMatrixLayoutDestroy(result);
    if (factor != nullptr) api.cublasLtMatrixLayoutDestroy(factor);
    if (desc != nullptr) api.cublasLtMatmulDescDestroy(desc);
  }

  // a is transposed: the one form in which 8-bit floats are multiplied.
  void choose(Handle handle, ElementType type, std::uint64_t side) {
    const auto leading = static_cast<std::int64_t>(side);
    check(api.cublasLtMatmulDescCreate(&desc, kComputeF32, kF32), "cublasLtMatmulDescCreate");
    check(api.cublasLtMatmulDescSetAttribute(desc, kTransA, &kTransposed, sizeof kTransposed),
          "cublasLtMatmulDescSetAttribute");
    check(api.cublasLtMatrixLayoutCreate(&factor, type, side, side, leading), "cublasLtMatrixLayoutCreate");
    check(api.cublasLtMatrixLayoutCreate(&result, cublas_lt::kBf16, side, side, leading),
          "cublasLtMatrixLayoutCreate");
    Preference preference = nullptr;
    check(api.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    Heuristic heuristic{};
    int found = 0;
    const bool accepted =
        api.cublasLtMatmulPreferenceSetAttribute(preference, kMaxWorkspaceBytes, &kWorkspaceBytes,
                                                 sizeof kWorkspaceBytes) == kSuccess &&
        api.cublasLtMatmulAlgoGetHeuristic(handle, desc, factor, factor, result, result, preference, 1,
                                           &heuristic, &found) == kSuccess;
    api.cublasLtMatmulPreferenceDestroy(preference);
    if (accepted && found > 0 && heuristic.state == kSuccess) chosen = heuristic;
  }
};

}  // namespace

struct MatrixProducts::State {
  Device device;
  Api api{};
  Handle handle = nullptr;
  std::uint64_t side = 0;
  cuda::DeviceBuffer result, workspace;
  std::optional<Product> bf16, e4m3;

  ~State() {
    bf16.reset();
    e4m3.reset();
    if (handle != nullptr) api.cublasLtDestroy(handle);
  }
};

MatrixProducts::MatrixProducts(Device device) : state_(std::make_unique<State>()) {
  try {
    prepare(device);
  } catch (const Error& error) {
    problem_ = error.what();
  }
}

MatrixProducts::~MatrixProducts() = default;

void MatrixProducts::prepare(Device device) {
  State& state = *state_;
  const cuda::ToolkitLibrary library = cuda::load_toolkit_library(env::Variable::kCublasLt, "cublas", kNames);
  if (library.handle == nullptr) fail(ErrorKind::kUnsupported, "{}", library.problem);
  if (const char* missing = resolve(library.handle, state.api); missing != nullptr)
    fail(ErrorKind::kUnsupported, "libcublasLt has no {}", missing);
  const auto operations = static_cast<std::uint64_t>(cuda::device_facts(device).sm_count) * kOperationsPerSm;
  for (std::uint64_t side : kSides) {
    state.side = side;
    const std::size_t taken = 8 * side * side + kWorkspaceBytes;
    if (2 * side * side * side <= operations && 2 * taken < cuda::free_memory(device)) break;
  }
  const cuda::ContextGuard context(device.index);
  state.device = device;
  check(state.api.cublasLtCreate(&state.handle), "cublasLtCreate");
  state.result = cuda::DeviceBuffer(device, state.side * state.side * size_of(Dtype::kBf16));
  state.workspace = cuda::DeviceBuffer(device, kWorkspaceBytes);
  state.bf16.emplace(state.api, device, Dtype::kBf16, state.side);
  state.bf16->choose(state.handle, cublas_lt::kBf16, state.side);
  state.e4m3.emplace(state.api, device, Dtype::kE4m3, state.side);
  state.e4m3->choose(state.handle, cublas_lt::kE4m3, state.side);
  for (Dtype dtype : {Dtype::kBf16, Dtype::kE4m3}) enqueue(dtype, {});  // what fails does so here
  cuda::synchronize(device, {});
}

bool MatrixProducts::enqueue(Dtype dtype, Stream stream) const {
  State& state = *state_;
  const std::optional<Product>& product = dtype == Dtype::kBf16 ? state.bf16 : state.e4m3;
  if (!problem_.empty() || !product->chosen) return false;
  const cuda::ContextGuard context(state.device.index);
  const float one = 1, zero = 0;
  check(state.api.cublasLtMatmul(state.handle, product->desc, &one, product->a.data(), product->factor,
                                 product->b.data(), product->factor, &zero, state.result.data(),
                                 product->result, state.result.data(), product->result,
                                 &product->chosen->algorithm, state.workspace.data(), kWorkspaceBytes,
                                 cuda::handle_of(stream)),
        "cublasLtMatmul");
  return true;
}

double MatrixProducts::operations() const {
  const auto side = static_cast<double>(state_->side);
  return 2 * side * side * side;
}

}  // namespace strobe::bench
