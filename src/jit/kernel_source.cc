#include "jit/kernel_source.h"

#include <algorithm>

#include "core/message.h"
#include "jit/builtin_kernels.h"

namespace strobe::jit {
namespace {

bool has_value(const Constant& constant, int value) {
  return std::find(constant.values.begin(), constant.values.end(), value) != constant.values.end();
}

std::string print(const Constant& constant, int value) {
  return constant.print != nullptr ? constant.print(value) : std::to_string(value);
}

// "kBf16" of "strobe::kernel::Dtype::kBf16".
std::string unqualified(const std::string& text) {
  const std::size_t colons = text.rfind("::");
  return colons == std::string::npos ? text : text.substr(colons + 2);
}

}  // namespace

void KernelRegistry::add(const KernelSource& source) {
  const auto reject = [&](std::string_view reason) {
    fail(ErrorKind::kInvalidArgument, "kernel '{}': {}", source.name, reason);
  };
  if (source.name.empty() || source.header.empty() || source.launch_facts == nullptr)
    reject("a kernel source needs a name, a header and launch facts");
  if (source.constants.size() > kMaxConstants)
    reject(fmt::format("{} constants, at most {} are possible", source.constants.size(), kMaxConstants));
  for (const Constant& constant : source.constants)
    if (constant.values.empty()) reject(fmt::format("constant {} has no values", constant.name));
  if (find(source.name) != nullptr) reject("the name is taken");
  sources_.push_back(&source);
}

const KernelSource* KernelRegistry::find(std::string_view name) const {
  for (const KernelSource* source : sources_)
    if (source->name == name) return source;
  return nullptr;
}

const KernelRegistry& kernel_registry() {
  static const KernelRegistry registry = [] {
    KernelRegistry builtin;
    declare_builtin_kernels(builtin);
    return builtin;
  }();
  return registry;
}

bool exists(const Variant& variant) {
  const KernelSource& source = *variant.source;
  if (variant.architecture < source.least_architecture) return false;
  for (std::size_t i = 0; i < source.constants.size(); ++i)
    if (!has_value(source.constants[i], variant.values[i])) return false;
  return source.valid == nullptr || source.valid(variant.constants(), variant.architecture);
}

std::string describe(const Variant& variant) {
  std::string constants;
  if (!variant.source->label.empty()) constants = variant.source->label;
  for (std::size_t i = 0; i < variant.source->constants.size(); ++i) {
    const Constant& constant = variant.source->constants[i];
    constants += fmt::format("{}{} = {}", constants.empty() ? "" : ", ", constant.name,
                             unqualified(print(constant, variant.values[i])));
  }
  return fmt::format("{}({}) for {}", variant.source->name, constants, cuda::name(variant.architecture));
}

std::string translation_unit(const Variant& variant) {
  const KernelSource& source = *variant.source;
  std::string text = fmt::format("// {}\n", describe(variant));
  if (!source.types.empty()) text += fmt::format("#include \"{}\"\n", source.types);
  // Names of a user's text are the user's affair.
  const bool enclosed = !source.text.empty() && !source.constants.empty();
  if (enclosed) text += "namespace strobe::kernel {\n";
  for (std::size_t i = 0; i < source.constants.size(); ++i) {
    const Constant& constant = source.constants[i];
    text += fmt::format("constexpr {} {} = {};\n", constant.type, constant.name,
                        print(constant, variant.values[i]));
  }
  if (enclosed) text += "}  // namespace strobe::kernel\n";
  text += source.text;
  if (!source.header.empty()) text += fmt::format("#include \"{}\"\n", source.header);
  return text;
}

}  // namespace strobe::jit
