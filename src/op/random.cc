#include "op/random.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <vector>

#include "core/message.h"

namespace strobe::op {

double Random::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

namespace {

thread_local int fill_nothing = 0;  // the objects of that class that live

constexpr std::size_t kTableSize = 1 << 16;

// Calls f(pointer to the element) for every element, the innermost axis as runs.
template <class Element, class F>
void for_each(const TensorView& view, F f) {
  if (view.size() == 0) return;
  std::array<std::int64_t, kMaxRank> index{};
  for (;;) {
    std::int64_t offset = 0;
    for (int i = 0; i < view.rank; ++i)
      offset += index[static_cast<std::size_t>(i)] * view.strides[static_cast<std::size_t>(i)];
    Element* element = view.as<Element>() + offset;
    const auto last = static_cast<std::size_t>(view.rank > 0 ? view.rank - 1 : 0);
    const std::int64_t run = view.rank > 0 ? view.shape[last] : 1;
    for (std::int64_t i = 0; i < run; ++i) f(element + i * (view.rank > 0 ? view.strides[last] : 0));
    int axis = view.rank - 2;
    while (axis >= 0 && ++index[static_cast<std::size_t>(axis)] == view.shape[static_cast<std::size_t>(axis)])
      index[static_cast<std::size_t>(axis--)] = 0;
    if (axis < 0) return;
  }
}

template <class Element>
void fill_floats(const TensorView& view, Random& random, double mean, double deviation) {
  const auto draw = [&] { return Element(static_cast<float>(mean + deviation * random.normal())); };
  if (view.size() <= static_cast<std::int64_t>(kTableSize)) {
    for_each<Element>(view, [&](Element* element) { *element = draw(); });
    return;
  }
  std::vector<Element> table(kTableSize);
  for (Element& entry : table) entry = draw();
  std::uint64_t bits = 0;
  int left = 0;
  for_each<Element>(view, [&](Element* element) {
    if (left == 0) {
      bits = random.next();
      left = 4;
    }
    *element = table[bits & (kTableSize - 1)];
    bits >>= 16;
    --left;
  });
}

template <class Element>
void fill_bits(const TensorView& view, Random& random) {
  for_each<Element>(view, [&](Element* element) { *element = static_cast<Element>(random.next() & 1); });
}

template <class Element>
void fill_value(const TensorView& view, Element value) {
  for_each<Element>(view, [&](Element* element) { *element = value; });
}

}  // namespace

FillNothing::FillNothing() { ++fill_nothing; }
FillNothing::~FillNothing() { --fill_nothing; }

void fill_normal(const TensorView& view, Random& random, double mean, double deviation) {
  if (fill_nothing > 0) return;
  switch (view.dtype) {
    case Dtype::kF32:
      return fill_floats<float>(view, random, mean, deviation);
    case Dtype::kF16:
      return fill_floats<F16>(view, random, mean, deviation);
    case Dtype::kBf16:
      return fill_floats<Bf16>(view, random, mean, deviation);
    case Dtype::kE4m3:
      return fill_floats<E4m3>(view, random, mean, deviation);
    case Dtype::kE5m2:
      return fill_floats<E5m2>(view, random, mean, deviation);
    case Dtype::kI8:
    case Dtype::kU8:
    case Dtype::kBool:
      return fill_bits<std::uint8_t>(view, random);
    case Dtype::kI32:
      return fill_bits<std::int32_t>(view, random);
    case Dtype::kI64:
      return fill_bits<std::int64_t>(view, random);
  }
}

void fill_poison(const TensorView& view) {
  if (fill_nothing > 0) return;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  switch (view.dtype) {
    case Dtype::kF32:
      return fill_value(view, kNan);
    case Dtype::kF16:
      return fill_value(view, F16(kNan));
    case Dtype::kBf16:
      return fill_value(view, Bf16(kNan));
    case Dtype::kE4m3:
      return fill_value(view, E4m3(kNan));
    case Dtype::kE5m2:
      return fill_value(view, E5m2(kNan));
    case Dtype::kI8:
      return fill_value(view, std::numeric_limits<std::int8_t>::max());
    case Dtype::kU8:
    case Dtype::kBool:
      return fill_value(view, std::numeric_limits<std::uint8_t>::max());
    case Dtype::kI32:
      return fill_value(view, std::numeric_limits<std::int32_t>::max());
    case Dtype::kI64:
      return fill_value(view, std::numeric_limits<std::int64_t>::max());
  }
}

}  // namespace strobe::op
