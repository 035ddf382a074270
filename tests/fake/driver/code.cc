// Libraries, kernels and their launch.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory>

#include "device.h"
#include "grid.h"
#include "stream.h"

namespace strobe::cuda {
struct Function {
  LibraryKernel* kernel = nullptr;
  int device = 0;
  int most_dynamic_shared = 0;
  bool non_portable_cluster = false;
};
struct LibraryKernel {
  emulated::Code code;
  std::array<Function, emulated::kMostDevices> functions;
};
struct Library {
  void* module = nullptr;
  int descriptor = -1;
  const emulated::Module* content = nullptr;
  emulated::Code code;
  std::deque<LibraryKernel> kernels;
};
}  // namespace strobe::cuda

namespace emulated {
namespace {

using namespace strobe::cuda;

constexpr int kDefaultShared = 48 * 1024;  // static and dynamic together, without opting in
constexpr unsigned kPortableCluster = 8;

// The bytes of an ELF file in memory: its section headers come last.
std::size_t elf_bytes(const void* code) {
  Elf64_Ehdr header;
  std::memcpy(&header, code, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return 0;
  return header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize;
}

// Where the module lies, and its thread-local block.
void locate(const void* inside, Code& code) {
  struct Search {
    std::uintptr_t inside;
    Code* code;
  } search{reinterpret_cast<std::uintptr_t>(inside), &code};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& [wanted, found] = *static_cast<Search*>(data);
        Range image;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          if (segment.p_type == PT_LOAD)
            image.bytes = std::max<std::size_t>(image.bytes, segment.p_vaddr + segment.p_memsz);
        }
        image.begin = info->dlpi_addr;
        if (!image.holds(wanted)) return 0;
        found->image = image;
        for (int i = 0; i < info->dlpi_phnum; ++i)
          if (info->dlpi_phdr[i].p_type == PT_TLS) found->static_shared_bytes = info->dlpi_phdr[i].p_memsz;
        found->tls_module = found->static_shared_bytes > 0 ? info->dlpi_tls_modid : 0;
        return 1;
      },
      &search);
}

Result load(const void* code, Library& library) {
  const std::size_t bytes = elf_bytes(code);
  if (bytes == 0) return kInvalidImage;
  // The loader knows files by their names: this one's is not used again while the library is open.
  library.descriptor = ::memfd_create("emulated", MFD_CLOEXEC);
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t written = ::write(library.descriptor, static_cast<const char*>(code) + done, bytes - done);
    if (written <= 0) return kErrorOutOfMemory;
    done += static_cast<std::size_t>(written);
  }
  const std::string path = "/proc/self/fd/" + std::to_string(library.descriptor);
  library.module = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library.module == nullptr) return explain(kInvalidImage, ::dlerror());
  library.content = static_cast<const Module*>(::dlsym(library.module, kModuleSymbol));
  if (library.content == nullptr) return kInvalidImage;
  if (library.content->capability != capability()) return kNoBinary;
  library.code.machine = library.content->machine;
  library.code.shared_alignment = static_cast<std::size_t>(library.content->shared_alignment);
  locate(library.content, library.code);
  return kSuccess;
}

struct LaunchOptions {
  Index3 cluster{1, 1, 1};
  bool may_begin_early = false, cooperative = false;
};

Result read_attributes(const LaunchRequest& request, LaunchOptions& options) {
  for (unsigned i = 0; i < request.attribute_count; ++i) {
    const LaunchAttribute& attribute = request.attributes[i];
    switch (attribute.id) {
      case kLaunchClusterDimension:
        options.cluster = {attribute.value.cluster.x, attribute.value.cluster.y, attribute.value.cluster.z};
        break;
      case kLaunchProgrammaticSerialization:
        options.may_begin_early = attribute.value.flag != 0;
        break;
      case kLaunchCooperative:
        options.cooperative = attribute.value.flag != 0;
        break;
      default:
        return kInvalidValue;
    }
  }
  const bool of_sm90 =
      options.may_begin_early || options.cluster.x * options.cluster.y * options.cluster.z != 1;
  return of_sm90 && capability() < 90 ? kNotSupported : kSuccess;
}

Result check_cluster(const LaunchRequest& request, const Index3& cluster, const Function& function) {
  const unsigned blocks = cluster.x * cluster.y * cluster.z;
  if (blocks == 1) return kSuccess;
  if (blocks == 0 || request.grid_x % cluster.x != 0 || request.grid_y % cluster.y != 0 ||
      request.grid_z % cluster.z != 0)
    return kInvalidValue;
  if (blocks > (function.non_portable_cluster ? kLargestCluster : kPortableCluster))
    return kInvalidClusterSize;
  if (blocks != cluster.x || function.kernel->code.static_shared_bytes > 0)
    return explain(kNotSupported, "the emulation's clusters lie along x and have dynamic shared memory only");
  return kSuccess;
}

Result check_sizes(const LaunchRequest& request, const Function& function) {
  const Entry& entry = *function.kernel->code.entry;
  constexpr unsigned kMostBlockZ = 64, kMostGridYz = 65535;
  const auto outside = [](unsigned value, unsigned most) { return value == 0 || value > most; };
  if (outside(request.grid_x, 0x7fffffff) || outside(request.grid_y, kMostGridYz) ||
      outside(request.grid_z, kMostGridYz) || outside(request.block_x, kMostThreads) ||
      outside(request.block_y, kMostThreads) || outside(request.block_z, kMostBlockZ))
    return kInvalidValue;
  const unsigned long threads =
      static_cast<unsigned long>(request.block_x) * request.block_y * request.block_z;
  if (threads > kMostThreads) return kInvalidValue;
  if (threads > static_cast<unsigned long>(entry.max_threads)) return kOutOfResources;
  if (static_cast<int>(request.shared_bytes) > function.most_dynamic_shared) return kInvalidValue;
  return kSuccess;
}

}  // namespace
}  // namespace emulated

using namespace emulated;

EXPORT Result cuLibraryUnload(LibraryHandle library) {
  if (const Result result = finish_all(); result != kSuccess) return result;
  if (library->module != nullptr) ::dlclose(library->module);
  if (library->descriptor >= 0) ::close(library->descriptor);
  delete library;
  return kSuccess;
}
EXPORT Result cuLibraryLoadData(LibraryHandle* library, const void* code, int*, void**, unsigned jit_count,
                                int*, void**, unsigned library_count) {
  if (const Result result = need_context(); result != kSuccess) return result;
  if (const Result result = unsafe_in_capture(); result != kSuccess) return result;
  if (jit_count != 0 || library_count != 0) return kNotSupported;
  auto loaded = std::make_unique<Library>();
  if (const Result result = load(code, *loaded); result != kSuccess) {
    cuLibraryUnload(loaded.release());
    return result;
  }
  *library = loaded.release();
  return kSuccess;
}
EXPORT Result cuLibraryGetKernel(KernelHandle* kernel, LibraryHandle library, const char* name) {
  for (int i = 0; i < library->content->entry_count; ++i) {
    const Entry& entry = library->content->entries[i];
    if (std::strcmp(entry.name, name) != 0) continue;
    LibraryKernel& made = library->kernels.emplace_back();
    made.code = library->code;
    made.code.entry = &entry;
    for (int device = 0; device < kMostDevices; ++device)
      made.functions[static_cast<std::size_t>(device)] = {
          &made, device, kDefaultShared - static_cast<int>(made.code.static_shared_bytes)};
    *kernel = &made;
    return kSuccess;
  }
  return kNotFound;
}
EXPORT Result cuKernelGetFunction(FunctionHandle* function, KernelHandle kernel) {
  if (const Result result = need_context(); result != kSuccess) return result;
  *function = &kernel->functions[static_cast<std::size_t>(current_context()->device)];
  return kSuccess;
}
// Registers and local memory are not known.
EXPORT Result cuFuncGetAttribute(int* value, FunctionAttribute attribute, FunctionHandle function) {
  if (attribute == kFunctionMaxDynamicSharedBytes)
    *value = function->most_dynamic_shared;
  else if (attribute == kFunctionNonPortableCluster)
    *value = function->non_portable_cluster;
  else
    *value = 0;
  return kSuccess;
}
EXPORT Result cuFuncSetAttribute(FunctionHandle function, FunctionAttribute attribute, int value) {
  if (attribute == kFunctionNonPortableCluster) {
    function->non_portable_cluster = value != 0;
    return kSuccess;
  }
  const int most = shared_bytes_per_block() - static_cast<int>(function->kernel->code.static_shared_bytes);
  if (attribute != kFunctionMaxDynamicSharedBytes || value < 0 || value > most) return kInvalidValue;
  function->most_dynamic_shared = value;
  return kSuccess;
}
EXPORT Result cuFuncGetParamInfo(FunctionHandle function, std::size_t index, std::size_t* offset,
                                 std::size_t* bytes) {
  if (index != 0) return kInvalidValue;
  *offset = 0;
  *bytes = function->kernel->code.entry->params_bytes;
  return kSuccess;
}
EXPORT Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, FunctionHandle function, int threads,
                                                          std::size_t shared_bytes) {
  if (threads <= 0 || threads > kMostThreads) return kInvalidValue;
  constexpr std::size_t kReserved = 1024;  // of each block
  const std::size_t bytes = shared_bytes + function->kernel->code.static_shared_bytes + kReserved;
  *blocks = std::min(threads_per_sm() / threads,
                     static_cast<int>(static_cast<std::size_t>(shared_bytes_per_sm()) / bytes));
  return kSuccess;
}
EXPORT Result cuLaunchKernelEx(const LaunchRequest* request, FunctionHandle function, void** params,
                               void** extra) {
  if (const Result result = need_context(); result != kSuccess) return result;
  if (function == nullptr || function->device != current_context()->device) return kInvalidHandle;
  if (params == nullptr || extra != nullptr) return kInvalidValue;
  LaunchOptions options;
  if (const Result result = read_attributes(*request, options); result != kSuccess) return result;
  if (const Result result = check_sizes(*request, *function); result != kSuccess) return result;
  if (const Result result = check_cluster(*request, options.cluster, *function); result != kSuccess)
    return result;
  if (options.cooperative) return explain(kNotSupported, "the emulation runs one cluster at a time");
  const Code& code = function->kernel->code;
  GridRequest grid{.code = code,
                   .device = function->device,
                   .grid = {request->grid_x, request->grid_y, request->grid_z},
                   .block = {request->block_x, request->block_y, request->block_z},
                   .cluster = options.cluster.x,
                   .dynamic_shared_bytes = request->shared_bytes,
                   .may_begin_early = options.may_begin_early,
                   .params = {static_cast<const char*>(params[0]), code.entry->params_bytes}};
  return enqueue(request->stream, [grid = std::move(grid)] {
    const Fault fault = Grid::instance().run(grid);
    if (fault.result != kSuccess) lose_context(fault.result, fault.text);
    return fault.result;
  });
}
EXPORT Result cuTensorMapEncodeTiled(TensorMap* map, TensorMapType type, std::uint32_t rank, void* address,
                                     const std::uint64_t* sizes, const std::uint64_t* strides_bytes,
                                     const std::uint32_t* box, const std::uint32_t* element_strides,
                                     TensorMapInterleave interleave, TensorMapSwizzle swizzle,
                                     TensorMapL2Promotion, TensorMapFill fill) {
  if (const Result result = need_context(); result != kSuccess) return result;
  if (capability() < 90) return kNotSupported;
  const bool has_16_bits =
      type == TensorMapType::kU16 || type == TensorMapType::kF16 || type == TensorMapType::kBf16;
  if (!(has_16_bits || type == TensorMapType::kU8) || rank != 5 || interleave != TensorMapInterleave::kNone ||
      fill != TensorMapFill::kZero ||
      (swizzle != TensorMapSwizzle::kNone && swizzle != TensorMapSwizzle::k128Bytes))
    return explain(kNotSupported,
                   "the emulation's boxes have five axes of 8-bit or 16-bit elements, and rows that are "
                   "permuted within 128 bytes or not at all");
  TensorMapContent content{};
  content.address = reinterpret_cast<std::uintptr_t>(address);
  content.rank = static_cast<unsigned char>(rank);
  content.element_bytes = has_16_bits ? 2 : 1;
  content.permutes = swizzle == TensorMapSwizzle::k128Bytes;
  content.is_map = kIsMap;
  if (content.address % 16 != 0) return kInvalidValue;
  for (std::uint32_t axis = 0; axis < rank; ++axis) {
    if (box[axis] == 0 || box[axis] > 256 || sizes[axis] == 0 || element_strides[axis] != 1)
      return kInvalidValue;
    content.size[axis] = sizes[axis];
    content.box[axis] = static_cast<unsigned short>(box[axis]);
    if (axis > 0 && strides_bytes[axis - 1] % 16 != 0) return kInvalidValue;
    if (axis > 0) content.stride[axis - 1] = strides_bytes[axis - 1];
  }
  const unsigned row_bytes = box[0] * content.element_bytes;
  if (row_bytes % 16 != 0 || (content.permutes && row_bytes > 128)) return kInvalidValue;
  std::memcpy(map, &content, sizeof content);
  return kSuccess;
}
