#include "trace/run/inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/message.h"
#include "core/safetensors.h"
#include "trace/run/sampling.h"

namespace strobe::trace {
namespace {

void copy(const TensorSpec& spec, const Tensor& file, const TensorView& target) {
  const TensorView& view = file.view();
  if (view.dtype != target.dtype || view.rank != target.rank || view.shape != target.shape)
    fail(ErrorKind::kIo, "input '{}': expected {}, got {}", spec.name, describe(target), describe(view));
  std::memcpy(target.data, view.data, static_cast<std::size_t>(view.bytes()));
}

ScalarValue scalar(const TensorSpec& spec, const WorkloadInput& input, op::Random& random) {
  if (const auto* given = std::get_if<ScalarInput>(&input)) {
    if (const auto* number = std::get_if<double>(&given->value); number != nullptr && !std::isfinite(*number))
      fail(ErrorKind::kUnsupported, "input '{}': a scalar that is not finite cannot be passed on", spec.name);
    return given->value;
  }
  if (spec.dtype == "bool") return random.integer(0, 1) == 1;
  return spec.dtype.starts_with("int") ? ScalarValue(random.integer(-1024, 1024))
                                       : ScalarValue(random.normal());
}

// Rows that are softmax of normal logits.
void fill_distributions(const TensorView& target, op::Random& random) {
  const std::int64_t vocabulary = target.shape[static_cast<std::size_t>(target.rank - 1)];
  for (float *row = target.as<float>(), *end = row + target.size(); row < end; row += vocabulary) {
    double sum = 0;
    for (std::int64_t i = 0; i < vocabulary; ++i)
      sum += row[i] = static_cast<float>(std::exp(2 * random.normal()));
    for (std::int64_t i = 0; i < vocabulary; ++i) row[i] = static_cast<float>(row[i] / sum);
  }
}

}  // namespace

Inputs::Inputs(const DataSet& set, const Definition& definition, const Workload& workload, std::uint64_t seed)
    : definition_(definition), random_(seed) {
  for (const TensorSpec& spec : definition.inputs) {
    const WorkloadInput* input = workload.input(spec.name);
    if (input == nullptr)
      fail(ErrorKind::kInvalidArgument, "workload {}: input '{}' is missing", workload.uuid, spec.name);
    if (!spec.shape)
      scalars_.push_back(scalar(spec, *input, random_));
    else if (const auto* file = std::get_if<FileInput>(input))
      files_.push_back(read_safetensors_tensor((set.root() / file->path).string(), file->tensor_key));
    else
      files_.emplace_back();
  }
}

void Inputs::fill(const TensorSets& sets) {
  for (int number = 0; number < sets.sets(); ++number) {
    std::size_t tensor = 0;
    for (std::size_t i = 0; i < sets.inputs().size(); ++i) {
      if (sets.inputs()[i].is_scalar) continue;
      const Tensor& file = files_[tensor++];
      const TensorSpec& spec = sets.inputs()[i].spec;
      if (file.view().given())
        copy(spec, file, sets.input(number, i));
      else
        draw(spec, sets.input(number, i));
    }
  }
}

void Inputs::draw(const TensorSpec& spec, const TensorView& target) {
  const bool samples = is_sampling(definition_);
  if (samples && spec.name == "probs" && target.dtype == Dtype::kF32 && target.rank > 0)
    return fill_distributions(target, random_);
  if (samples && spec.name == "top_p" && target.dtype == Dtype::kF32) {
    for (std::int64_t i = 0; i < target.size(); ++i)
      target.as<float>()[i] = static_cast<float>(0.1 + 0.9 * random_.uniform());
    return;
  }
  if (samples && spec.name == "top_k" && target.dtype == Dtype::kI32) {
    const Axis* vocabulary = definition_.axis("vocab_size");
    const std::int64_t most =
        std::min<std::int64_t>(64, vocabulary != nullptr ? vocabulary->value.value_or(64) : 64);
    for (std::int64_t i = 0; i < target.size(); ++i)
      target.as<std::int32_t>()[i] = static_cast<std::int32_t>(random_.integer(1, most));
    return;
  }
  op::fill_normal(target, random_);
}

}  // namespace strobe::trace
