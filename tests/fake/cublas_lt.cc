// A stand-in for libcublasLt on the emulated GPU: it multiplies nothing, but refuses what cuBLASLt would not
// do. FAKE_CUBLASLT=no_e4m3 knows no product of 8-bit floats, =broken fails every product.
#include "bench/gpu/cublas_lt.h"

#include <cstdlib>
#include <cstring>
#include <string_view>

using namespace strobe::bench::cublas_lt;

namespace strobe::bench::cublas_lt {

struct HandleObject {};
struct MatmulDescObject {
  bool a_transposed = false;
};
struct LayoutObject {
  ElementType type;
  std::uint64_t rows, columns;
};
struct PreferenceObject {
  std::size_t workspace_bytes = 0;
};

}  // namespace strobe::bench::cublas_lt

namespace {

constexpr Status kInvalidValue = 7, kNotSupported = 15, kExecutionFailed = 13;

bool mode(std::string_view name) {
  const char* value = std::getenv("FAKE_CUBLASLT");
  return value != nullptr && value == name;
}

template <class Object, class... Arguments>
Status make(Object** object, Arguments... arguments) {
  *object = new Object{arguments...};
  return kSuccess;
}

template <class Object>
Status destroy(Object* object) {
  if (object == nullptr) return kInvalidValue;
  delete object;
  return kSuccess;
}

// D (bf16) = A^T B of one dtype.
bool well_formed(MatmulDesc desc, Layout a, Layout b, Layout c, Layout d) {
  return desc->a_transposed && a->type == b->type && a->rows == b->rows && d->rows == a->columns &&
         d->columns == b->columns && d->type == kBf16 && c->type == kBf16;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {
Status cublasLtCreate(Handle* handle) { return make(handle); }
Status cublasLtDestroy(Handle handle) { return destroy(handle); }
Status cublasLtMatmulDescCreate(MatmulDesc* desc, ComputeType compute, ElementType scale) {
  return compute == kComputeF32 && scale == kF32 ? make(desc) : kInvalidValue;
}
Status cublasLtMatmulDescDestroy(MatmulDesc desc) { return destroy(desc); }
Status cublasLtMatmulDescSetAttribute(MatmulDesc desc, DescAttribute attribute, const void* value,
                                      std::size_t bytes) {
  std::int32_t operation = 0;
  if (attribute != kTransA || bytes != sizeof operation) return kInvalidValue;
  std::memcpy(&operation, value, bytes);
  desc->a_transposed = operation == kTransposed;
  return kSuccess;
}
Status cublasLtMatrixLayoutCreate(Layout* layout, ElementType type, std::uint64_t rows, std::uint64_t columns,
                                  std::int64_t leading) {
  return leading == static_cast<std::int64_t>(rows) ? make(layout, type, rows, columns) : kInvalidValue;
}
Status cublasLtMatrixLayoutDestroy(Layout layout) { return destroy(layout); }
Status cublasLtMatmulPreferenceCreate(Preference* preference) { return make(preference); }
Status cublasLtMatmulPreferenceDestroy(Preference preference) { return destroy(preference); }
Status cublasLtMatmulPreferenceSetAttribute(Preference preference, PreferenceAttribute attribute,
                                            const void* value, std::size_t bytes) {
  if (attribute != kMaxWorkspaceBytes || bytes != sizeof(std::size_t)) return kInvalidValue;
  std::memcpy(&preference->workspace_bytes, value, bytes);
  return kSuccess;
}
Status cublasLtMatmulAlgoGetHeuristic(Handle, MatmulDesc desc, Layout a, Layout b, Layout c, Layout d,
                                      Preference preference, int most, Heuristic* results, int* found) {
  *found = 0;
  if (!well_formed(desc, a, b, c, d) || preference->workspace_bytes == 0 || most < 1) return kInvalidValue;
  if (a->type == kE4m3 && mode("no_e4m3")) return kNotSupported;
  results[0] = {};
  *found = 1;
  return kSuccess;
}
Status cublasLtMatmul(Handle, MatmulDesc desc, const void* alpha, const void* a, Layout a_layout,
                      const void* b, Layout b_layout, const void* beta, const void* c, Layout c_layout,
                      void* d, Layout d_layout, const Algorithm* algorithm, void* workspace, std::size_t,
                      strobe::cuda::StreamHandle) {
  if (mode("broken")) return kExecutionFailed;
  const bool given = a != nullptr && b != nullptr && c == d && d != nullptr && algorithm != nullptr &&
                     workspace != nullptr && *static_cast<const float*>(alpha) == 1 &&
                     *static_cast<const float*>(beta) == 0;
  return given && well_formed(desc, a_layout, b_layout, c_layout, d_layout) ? kSuccess : kInvalidValue;
}
}  // extern "C"
#pragma GCC visibility pop
