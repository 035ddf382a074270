// What tvm-ffi's languages see of attention variants: defining one, and the arguments of its runs.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/message.h"
#include "ffi/tvm_call.h"
#include "ffi/values.h"
#include "strobe/attention_variant.h"

namespace strobe::ffi::tvm {
namespace {

constexpr const char* kDefine = "strobe_define_attention_variant";
constexpr const char* kArguments = "strobe_variant_arguments";

std::string_view expect_text(const char* argument, const StrobeValue& value) {
  if (const std::optional<std::string_view> text = text_of(value)) return *text;
  throw TypeError(fmt::format("{}: {}: expected a string, got {}", kDefine, argument, kind_name(value)));
}

// Calls f(name, type) for each part of "slopes:f32,mask:u8".
template <class F>
void for_each_parameter(std::string_view list, F f) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view part = list.substr(0, comma);
    const std::size_t colon = std::min(part.find(':'), part.size());
    f(std::string(part.substr(0, colon)), part.substr(std::min(colon + 1, part.size())));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

VariantScalarType scalar_type(std::string_view name) {
  constexpr std::string_view kNames[] = {"f32", "f64", "i32", "i64"};
  for (std::size_t i = 0; i < std::size(kNames); ++i)
    if (kNames[i] == name) return static_cast<VariantScalarType>(i);
  fail(ErrorKind::kInvalidArgument, "{}: scalars: expected types {}, got '{}'", kDefine,
       fmt::join(kNames, ", "), name);
}

Dtype tensor_dtype(std::string_view text) {
  for (int i = 0; i < kDtypeCount; ++i)
    if (name(static_cast<Dtype>(i)) == text) return static_cast<Dtype>(i);
  fail(ErrorKind::kInvalidArgument, "{}: tensors: expected dtypes, got '{}'", kDefine, text);
}

double number_of(const StrobeValue& value) {
  if (value.kind == STROBE_FLOAT) return value.as.number;
  if (value.kind == STROBE_INT || value.kind == STROBE_BOOL) return static_cast<double>(value.as.integer);
  throw TypeError(fmt::format("{}: expected tensors and then numbers, got {}", kArguments, kind_name(value)));
}

}  // namespace
}  // namespace strobe::ffi::tvm

extern "C" {

using namespace strobe;
using namespace strobe::ffi;
using namespace strobe::ffi::tvm;

// (name, text, "tensor:dtype,…", "scalar:type,…") -> the variant's number
STROBE_API int __tvm_ffi_strobe_define_attention_variant(void*, const StrobeValue* args, std::int32_t count,
                                                         StrobeValue* result) {
  return guarded([&] {
    if (count != 4) fail(ErrorKind::kInvalidArgument, "{}: expected 4 arguments, got {}", kDefine, count);
    AttentionVariantText text{.name = std::string(expect_text("name", args[0])),
                              .text = std::string(expect_text("text", args[1])),
                              .tensors = {},
                              .scalars = {}};
    for_each_parameter(expect_text("tensors", args[2]), [&](std::string name, std::string_view type) {
      text.tensors.push_back({std::move(name), tensor_dtype(type)});
    });
    for_each_parameter(expect_text("scalars", args[3]), [&](std::string name, std::string_view type) {
      text.scalars.push_back({std::move(name), scalar_type(type)});
    });
    *result = strobe_int(define_attention_variant(text).id);
  });
}

// (variant, i64 tensor in host memory to write to, how many tensors follow, tensors or nothing…, numbers…)
STROBE_API int __tvm_ffi_strobe_variant_arguments(void*, const StrobeValue* args, std::int32_t count,
                                                  StrobeValue* result) {
  return guarded([&] {
    if (count < 3 || args[0].kind != STROBE_INT || args[2].kind != STROBE_INT || args[2].as.integer < 0 ||
        args[2].as.integer > count - 3 || tensor_of(args[1]) == nullptr)
      fail(ErrorKind::kInvalidArgument, "{}: expected a variant, a tensor, the number of tensors, and these",
           kArguments);
    const AttentionVariant variant{static_cast<std::int32_t>(args[0].as.integer)};
    const std::int32_t first_scalar = 3 + static_cast<std::int32_t>(args[2].as.integer);
    std::vector<TensorView> tensors;
    std::vector<double> scalars;
    for (std::int32_t i = 3; i < first_scalar; ++i) {
      const StrobeTensor* tensor = tensor_of(args[i]);
      if (tensor == nullptr && args[i].kind != STROBE_NONE)
        throw TypeError(fmt::format("{}: expected a tensor, got {}", kArguments, kind_name(args[i])));
      tensors.push_back(tensor == nullptr ? TensorView() : view_of(*tensor, kArguments));
    }
    for (std::int32_t i = first_scalar; i < count; ++i) scalars.push_back(number_of(args[i]));
    const VariantArguments arguments(variant, tensors, scalars);
    const TensorView from = arguments.view(), to = view_of(*tensor_of(args[1]), kArguments);
    if (to.dtype != Dtype::kI64 || to.device != Device{} || !to.is_dense() || to.size() != from.size())
      fail(ErrorKind::kInvalidArgument, "{}: expected i64[{}] on the CPU to write to, got {}", kArguments,
           from.size(), describe(to));
    std::copy_n(from.as<const std::int64_t>(), from.size(), to.as<std::int64_t>());
    *result = strobe_none();
  });
}

}  // extern "C"
