#include "trace/build/raw_kernel.h"

#include <cstring>
#include <map>
#include <mutex>

#include "core/message.h"
#include "cuda/device.h"
#include "cuda/library.h"
#include "jit/compiler.h"
#include "trace/build/tvm_ffi.h"
#include "trace/constraint.h"

namespace strobe::trace {
namespace {

constexpr std::string_view kMark = "// launch:";
constexpr int kDlCuda = 2;

struct ElementType {
  std::string_view dtype, text;
  std::uint8_t code, bits;  // DLPack's
};
constexpr ElementType kTypes[] = {
    {"float32", "float", 2, 32},
    {"float64", "double", 2, 64},
    {"float16", "unsigned short", 2, 16},
    {"bfloat16", "unsigned short", 4, 16},
    {"float8_e4m3fn", "unsigned char", 10, 8},
    {"float8_e5m2", "unsigned char", 12, 8},
    {"int64", "long long", 0, 64},
    {"int32", "int", 0, 32},
    {"int16", "short", 0, 16},
    {"int8", "signed char", 0, 8},
    {"uint8", "unsigned char", 1, 8},
    {"bool", "bool", 6, 8},
};

const ElementType& type_of(const TensorSpec& spec) {
  for (const ElementType& type : kTypes)
    if (type.dtype == spec.dtype) return type;
  fail(ErrorKind::kUnsupported, "{}: a raw kernel takes no {}", spec.name, spec.dtype);
}

// "a, min(b, c)" split at the commas that no bracket encloses.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char letter : text) {
    depth += letter == '(' || letter == '[' ? 1 : letter == ')' || letter == ']' ? -1 : 0;
    if (letter == ',' && depth == 0)
      parts.emplace_back();
    else
      parts.back() += letter;
  }
  return parts;
}

// Takes "name(…)" off the beginning of the text; the part within the brackets.
std::string_view take_group(std::string_view& text, std::string_view name) {
  const auto skip = [&] { text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size())); };
  skip();
  std::size_t end = name.size() + 1;
  if (!text.starts_with(name) || text.size() < end || text[end - 1] != '(') return {};
  for (int depth = 1; depth > 0; ++end) {
    if (end == text.size()) return {};
    depth += text[end] == '(' ? 1 : text[end] == ')' ? -1 : 0;
  }
  const std::string_view inside = text.substr(name.size() + 1, end - name.size() - 2);
  text.remove_prefix(end);
  skip();
  return inside;
}

// The bytes of Arguments, laid out as the compiler does.
class Packer {
 public:
  template <class T>
  void add(T value) {
    offset_ = (offset_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    if (offset_ + sizeof(T) > sizeof bytes_)
      fail(ErrorKind::kUnsupported, "a raw kernel takes at most {} bytes of arguments", sizeof bytes_);
    std::memcpy(bytes_ + offset_, &value, sizeof(T));
    offset_ += sizeof(T);
  }
  const void* data() const { return bytes_; }
  std::size_t bytes() const { return (offset_ + 7) / 8 * 8; }  // it has a pointer or a long long in it

 private:
  alignas(8) char bytes_[4000]{};
  std::size_t offset_ = 0;
};

void add_scalar(Packer& packer, const TensorSpec& spec, const StrobeValue& value) {
  const bool is_float = value.kind == STROBE_FLOAT;
  if (!is_float && value.kind != STROBE_INT && value.kind != STROBE_BOOL)
    fail(ErrorKind::kInvalidArgument, "{}: expected a number", spec.name);
  const double real = is_float ? value.as.number : static_cast<double>(value.as.integer);
  const std::int64_t integer = is_float ? static_cast<std::int64_t>(value.as.number) : value.as.integer;
  const std::string_view type = type_of(spec).text;
  if (type == "float") return packer.add(static_cast<float>(real));
  if (type == "double") return packer.add(real);
  if (type == "long long") return packer.add(integer);
  if (type == "int") return packer.add(static_cast<std::int32_t>(integer));
  if (type == "bool") return packer.add(integer != 0);
  fail(ErrorKind::kUnsupported, "{}: a raw kernel takes no scalar of {}", spec.name, spec.dtype);
}

class RawKernel {
 public:
  RawKernel(const Definition& definition, std::string name, std::string entry, LaunchLine launch,
            std::shared_ptr<const jit::Binary> binary)
      : definition_(definition),
        name_(std::move(name)),
        entry_(std::move(entry)),
        launch_(std::move(launch)),
        binary_(std::move(binary)) {}

  static int call(void* self, const StrobeValue* arguments, std::int32_t count, StrobeValue* result) {
    try {
      static_cast<RawKernel*>(self)->run({arguments, static_cast<std::size_t>(count)});
      *result = strobe_none();
      return 0;
    } catch (const std::exception& error) {
      set_error(error.what());
      return -1;
    }
  }

 private:
  void run(std::span<const StrobeValue> values) {
    const std::size_t inputs = definition_.inputs.size(), expected = inputs + definition_.outputs.size();
    if (values.size() != expected)
      fail(ErrorKind::kInvalidArgument, "{}: expected {} arguments, got {}", name_, expected, values.size());
    Packer packer;
    std::map<std::string, std::int64_t, std::less<>> axes;
    int device = -1;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const TensorSpec& spec = i < inputs ? definition_.inputs[i] : definition_.outputs[i - inputs];
      if (!spec.shape)
        add_scalar(packer, spec, values[i]);
      else
        packer.add(check(spec, values[i], axes, device));
    }
    for (const Axis& axis : definition_.axes) {
      if (!axis.value)
        packer.add(axes[axis.name]);
      else
        axes[axis.name] = *axis.value;
    }
    if (device < 0) fail(ErrorKind::kInvalidArgument, "{}: expected tensors of a GPU, got none", name_);
    const auto value = [&](const std::string& text) {
      return integer_value(text, [&](std::string_view name) -> std::optional<Operand> {
        const auto found = axes.find(name);
        return found == axes.end() ? std::nullopt : std::optional<Operand>(found->second);
      });
    };
    const auto dim3 = [&](const std::vector<std::string>& texts) {
      cuda::Dim3 result;
      std::uint32_t* const extents[] = {&result.x, &result.y, &result.z};
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::int64_t extent = value(texts[i]);
        if (extent < 0 || extent > INT32_MAX)
          fail(ErrorKind::kInvalidArgument, "{}: '{}' is {}, which is no extent of a launch", name_, texts[i],
               extent);
        *extents[i] = static_cast<std::uint32_t>(extent);
      }
      return result;
    };
    const std::int64_t shared = value(launch_.shared);
    cuda::launch_erased(kernel(device, static_cast<int>(shared)),
                        {.grid = dim3(launch_.grid),
                         .block = dim3(launch_.block),
                         .shared_bytes = static_cast<int>(shared),
                         .stream = {cuda_stream(device)}},
                        packer.data(), packer.bytes());
  }

  // The tensor's address; binds the axes that it is the first to have.
  void* check(const TensorSpec& spec, const StrobeValue& value,
              std::map<std::string, std::int64_t, std::less<>>& axes, int& device) const {
    if (value.kind != STROBE_TENSOR) fail(ErrorKind::kInvalidArgument, "{}: expected a tensor", spec.name);
    const StrobeTensor& tensor = *value.as.tensor;
    const ElementType& type = type_of(spec);
    if (tensor.dtype_code != type.code || tensor.dtype_bits != type.bits || tensor.dtype_lanes != 1)
      fail(ErrorKind::kInvalidArgument, "{}: expected {}", spec.name, spec.dtype);
    if (tensor.rank != static_cast<std::int32_t>(spec.shape->size()))
      fail(ErrorKind::kInvalidArgument, "{}: expected {} axes, got {}", spec.name, spec.shape->size(),
           tensor.rank);
    if (tensor.device_type != kDlCuda || (device >= 0 && tensor.device_index != device))
      fail(ErrorKind::kInvalidArgument, "{}: expected a tensor of one GPU", spec.name);
    device = tensor.device_index;
    std::int64_t stride = 1;
    for (std::size_t i = spec.shape->size(); i-- > 0;) {
      const std::string& axis = (*spec.shape)[i];
      const std::int64_t extent = tensor.shape[i];
      const std::int64_t wanted =
          definition_.axis(axis)->value.value_or(axes.try_emplace(axis, extent).first->second);
      if (wanted != extent)
        fail(ErrorKind::kInvalidArgument, "{}: expected {} of {}, got {}", spec.name, wanted, axis, extent);
      if (tensor.strides != nullptr && extent > 1 && tensor.strides[i] != stride)
        fail(ErrorKind::kInvalidArgument, "{}: expected a tensor without gaps", spec.name);
      stride *= extent;
    }
    return static_cast<char*>(tensor.data) + tensor.byte_offset;
  }

  // Loaded once a device; the most shared memory that a call has asked for is what the kernel may have.
  cuda::Kernel kernel(int device, int shared_bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = kernels_.find(device);
    if (found != kernels_.end() && found->second.shared_bytes >= shared_bytes) return found->second;
    return kernels_[device] = cuda::load_kernel(
               binary_->entry.code,
               {.name = name_, .entry = entry_, .threads = 1, .shared_bytes = shared_bytes}, device);
  }

  const Definition definition_;
  const std::string name_, entry_;
  const LaunchLine launch_;
  const std::shared_ptr<const jit::Binary> binary_;
  std::mutex mutex_;
  std::map<int, cuda::Kernel> kernels_;
};

}  // namespace

std::optional<LaunchLine> launch_line(std::string_view source) {
  const std::size_t begin = source.find(kMark);
  if (begin == std::string_view::npos) return {};
  std::string_view rest = source.substr(begin + kMark.size());
  rest = rest.substr(0, rest.find('\n'));
  const std::string whole(rest);
  LaunchLine line;
  const std::string_view grid = take_group(rest, "grid"), block = take_group(rest, "block");
  if (const std::string_view shared = take_group(rest, "shared"); !shared.empty()) line.shared = shared;
  line.grid = split(grid);
  line.block = split(block);
  if (grid.empty() || block.empty() || line.grid.size() > 3 || line.block.size() > 3 || !rest.empty())
    fail(ErrorKind::kCompile, "{}: expected grid(x, y, z) block(x, y, z) shared(bytes), got '{}'", kMark,
         whole);
  return line;
}

std::string raw_kernel_prologue(const Definition& definition) {
  std::string constants, members;
  const auto member = [&](const TensorSpec& spec, std::string_view qualifier) {
    const std::string_view type = type_of(spec).text;
    members += spec.shape ? fmt::format("  {}{}* {};\n", qualifier, type, spec.name)
                          : fmt::format("  {} {};\n", type, spec.name);
  };
  for (const TensorSpec& spec : definition.inputs) member(spec, "const ");
  for (const TensorSpec& spec : definition.outputs) member(spec, "");
  for (const Axis& axis : definition.axes) {
    if (axis.value)
      constants += fmt::format("constexpr long long {} = {};\n", axis.name, *axis.value);
    else
      members += fmt::format("  long long {};\n", axis.name);
  }
  return constants + "struct Arguments {\n" + members + "};\n";
}

std::shared_ptr<const NativeFunction> build_raw_kernel(const Definition& definition, const Solution& solution,
                                                       const SourceFile& file, const LaunchLine& launch,
                                                       const BuildOptions& options) {
  const cuda::Architecture architecture = options.architecture.empty()
                                              ? cuda::architecture_of({DeviceType::kCuda, 0})
                                              : cuda::parse_architecture(options.architecture);
  const std::string text =
      fmt::format("{}#line 1 \"{}\"\n{}\n", raw_kernel_prologue(definition), file.path, file.content);
  const jit::KernelSource source = {
      .name = "solution", .header = "", .types = "", .label = solution.name, .text = text};
  const auto binary = jit::compiler().obtain({.source = &source, .architecture = architecture});
  auto kernel = std::make_shared<RawKernel>(definition, solution.name, std::string(solution.entry_symbol()),
                                            launch, binary);
  return std::make_shared<const NativeFunction>(RawKernel::call, kernel.get(), kernel, binary->compiled);
}

}  // namespace strobe::trace
