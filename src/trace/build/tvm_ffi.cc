#include "trace/build/tvm_ffi.h"

#include <dlfcn.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include "core/message.h"
#include "jit/process.h"
#include "jit/sha256.h"
#include "trace/files.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhere =
    "import importlib.util\n"
    "spec = importlib.util.find_spec('tvm_ffi')\n"
    "print(spec.submodule_search_locations[0] if spec else '', end='')";

// The package's folder when this process has its library: …/tvm_ffi/lib/libtvm_ffi.so.
fs::path loaded_package() {
  Dl_info info{};
  void* symbol = dlsym(RTLD_DEFAULT, "TVMFFIGetVersion");
  if (symbol == nullptr || dladdr(symbol, &info) == 0 || info.dli_fname == nullptr) return {};
  return fs::path(info.dli_fname).parent_path().parent_path();
}

std::string digest_of(const fs::path& include) {
  jit::Sha256 hash;
  for (const char* name : {"tvm/ffi/c_api.h", "tvm/ffi/function.h", "tvm/ffi/container/tensor.h"})
    hash.add_field(read_file(include / name));
  return hash.hex();
}

struct Library {
  void (*take_error)(void** error) = nullptr;
  int (*release)(void* object) = nullptr;
  int (*set_stream)(std::int32_t device_type, std::int32_t device, void* stream, void** before) = nullptr;
  void* (*get_stream)(std::int32_t device_type, std::int32_t device) = nullptr;
  void (*set_error)(const char* kind, const char* message) = nullptr;
};

// Null as long as the process has none.
const Library* library() {
  static std::atomic<const Library*> known = nullptr;
  if (const Library* found = known.load(std::memory_order_acquire)) return found;
  auto found = std::make_unique<Library>();
  const auto find = [](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(RTLD_DEFAULT, name));
    return function != nullptr;
  };
  if (!find(found->take_error, "TVMFFIErrorMoveFromRaised") || !find(found->release, "TVMFFIObjectDecRef") ||
      !find(found->set_stream, "TVMFFIEnvSetStream") || !find(found->get_stream, "TVMFFIEnvGetStream") ||
      !find(found->set_error, "TVMFFIErrorSetRaisedFromCStr"))
    return nullptr;
  const Library* none = nullptr;
  if (known.compare_exchange_strong(none, found.get(), std::memory_order_acq_rel))
    return found.release();  // for the life of the process
  return none;
}

constexpr int kDlCuda = 2;
constexpr const char* kSilent = "it failed without saying why";
thread_local std::string own_error;
thread_local std::array<void*, 64> own_streams{};

// Behind the object's header: kind, message, …
struct ErrorObject {
  ffi::tvm::ObjectHeader header;
  ffi::tvm::ByteArray kind, message;
};

}  // namespace

TvmFfiPackage find_tvm_ffi(const std::string& python) {
  fs::path folder = loaded_package();
  if (folder.empty()) {
    const jit::ProcessResult answer = jit::run_process({python, "-c", kWhere});
    if (!answer.succeeded)
      return {.problem = fmt::format("{} does not say where tvm-ffi is: {}", python, answer.problem)};
    folder = answer.output;
  }
  if (folder.empty())
    return {.problem = fmt::format("{} has no module tvm_ffi; `pip install apache-tvm-ffi`", python)};
  TvmFfiPackage package{.include = (folder / "include").string(),
                        .library = (folder / "lib" / "libtvm_ffi.so").string()};
  if (!fs::exists(package.library))
    return {.problem = fmt::format("{} has no lib/libtvm_ffi.so", folder.string())};
  try {
    package.digest = digest_of(package.include);
  } catch (const Error& error) {
    return {.problem = fmt::format("tvm-ffi's headers cannot be read: {}", error.what())};
  }
  return package;
}

void load_tvm_ffi(const TvmFfiPackage& package) {
  if (library() != nullptr) return;
  if (!package.problem.empty()) fail(ErrorKind::kUnsupported, "{}", package.problem);
  if (dlopen(package.library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr)
    fail(ErrorKind::kUnsupported, "tvm-ffi does not load: {}", dlerror());
  if (library() == nullptr)
    fail(ErrorKind::kUnsupported, "{}: expected tvm-ffi 0.1, got a library without its functions",
         package.library);
}

void set_error(const char* message) {
  if (const Library* found = library()) return found->set_error("ValueError", message);
  own_error = message;
}

std::string take_error() {
  const Library* found = library();
  if (found == nullptr) return own_error.empty() ? kSilent : std::exchange(own_error, std::string());
  void* object = nullptr;
  found->take_error(&object);
  if (object == nullptr) return kSilent;
  const auto* error = static_cast<const ErrorObject*>(object);
  const std::string text = fmt::format("{}: {}", std::string_view(error->kind.data, error->kind.size),
                                       std::string_view(error->message.data, error->message.size));
  found->release(object);
  return text;
}

void set_cuda_stream(int device, void* stream) {
  own_streams.at(static_cast<std::size_t>(device)) = stream;
  if (const Library* found = library()) found->set_stream(kDlCuda, device, stream, nullptr);
}

void* cuda_stream(int device) {
  if (const Library* found = library()) return found->get_stream(kDlCuda, device);
  return own_streams.at(static_cast<std::size_t>(device));
}

}  // namespace strobe::trace
