#include "trace/run/tensor_sets.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/message.h"

namespace strobe::trace {
namespace {

constexpr std::size_t kGuardBytes = 256, kAlignment = 256;
constexpr unsigned char kGuard = 0xa5;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Guard, tensor, guard; `offsets` gets where the tensors begin.
std::size_t lay_out(const std::vector<Slot>& slots, std::size_t begin, std::vector<std::size_t>* offsets) {
  for (const Slot& slot : slots) {
    begin = aligned(begin + kGuardBytes);
    if (offsets != nullptr) offsets->push_back(begin);
    begin += slot.bytes + kGuardBytes;
  }
  return aligned(begin);
}

}  // namespace

std::vector<Slot> slots_of(const std::vector<TensorSpec>& tensors, const Definition& definition,
                           const Workload& workload) {
  std::vector<Slot> slots;
  for (const TensorSpec& spec : tensors) {
    Slot slot{.spec = spec, .shape = {}, .is_scalar = !spec.shape};
    if (slot.is_scalar) {
      slots.push_back(slot);
      continue;
    }
    if (spec.dtype == "float4_e2m1" || spec.dtype == "int16")
      fail(ErrorKind::kUnsupported, "{}: tensors of {} cannot be made here", spec.name, spec.dtype);
    slot.dtype = parse_dtype(spec.dtype);
    if (spec.shape->size() > kMaxRank)
      fail(ErrorKind::kUnsupported, "{}: expected at most {} axes, got {}", spec.name, kMaxRank,
           spec.shape->size());
    slot.bytes = size_of(slot.dtype);
    for (const std::string& name : *spec.shape) {
      const std::optional<std::int64_t> given = workload.axis(name);
      const std::int64_t extent = definition.axis(name)->value.value_or(given.value_or(-1));
      if (extent < 0)
        fail(ErrorKind::kInvalidArgument, "workload {}: axis '{}' has no value", workload.uuid, name);
      slot.shape.push_back(extent);
      if (__builtin_mul_overflow(slot.bytes, static_cast<std::size_t>(extent), &slot.bytes))
        fail(ErrorKind::kOutOfMemory, "workload {}: {} is larger than memory can be", workload.uuid,
             spec.name);
    }
    slots.push_back(slot);
  }
  return slots;
}

std::size_t TensorSets::bytes_of_set(const std::vector<Slot>& inputs, const std::vector<Slot>& outputs) {
  return lay_out(outputs, lay_out(inputs, 0, nullptr), nullptr);
}

TensorSets::TensorSets(std::vector<Slot> inputs, std::vector<Slot> outputs, int sets)
    : inputs_(std::move(inputs)), outputs_(std::move(outputs)), sets_(sets) {
  set_bytes_ = lay_out(outputs_, lay_out(inputs_, 0, &input_offsets_), &output_offsets_);
  bytes_ = std::max<std::size_t>(set_bytes_ * static_cast<std::size_t>(sets), 4096);
  const int descriptor = memfd_create("strobe trace", MFD_CLOEXEC);
  descriptor_ = fcntl(descriptor, F_DUPFD_CLOEXEC, 10);  // out of the way of those that a child gets
  close(descriptor);
  void* memory = MAP_FAILED;
  if (descriptor_ >= 0 && ftruncate(descriptor_, static_cast<off_t>(bytes_)) == 0)
    memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
  if (memory == MAP_FAILED) {
    const int error = errno;
    close(descriptor_);
    fail(ErrorKind::kOutOfMemory, "{} bytes of shared memory: {}", bytes_, std::strerror(error));
  }
  memory_ = static_cast<std::byte*>(memory);
}

TensorSets::~TensorSets() {
  munmap(memory_, bytes_);
  close(descriptor_);
}

std::size_t TensorSets::input_offset(int set, std::size_t number) const {
  return static_cast<std::size_t>(set) * set_bytes_ + input_offsets_[number];
}
std::size_t TensorSets::output_offset(int set, std::size_t number) const {
  return static_cast<std::size_t>(set) * set_bytes_ + output_offsets_[number];
}

TensorView TensorSets::view(const Slot& slot, std::size_t offset) const {
  return {memory_ + offset, slot.dtype, std::span<const std::int64_t>(slot.shape)};
}

template <class F>
void TensorSets::for_each_tensor(const F& use) const {
  for (int set = 0; set < sets_; ++set) {
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      if (!use(inputs_[i], memory_ + input_offset(set, i))) return;
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      if (!use(outputs_[i], memory_ + output_offset(set, i))) return;
  }
}

void TensorSets::write_guards() {
  for_each_tensor([](const Slot& slot, std::byte* data) {
    std::memset(data - kGuardBytes, kGuard, kGuardBytes);
    std::memset(data + slot.bytes, kGuard, kGuardBytes);
    return true;
  });
}

std::optional<std::string> TensorSets::broken_guard() const {
  std::optional<std::string> broken;
  const auto whole = [](const std::byte* begin) {
    return std::all_of(begin, begin + kGuardBytes,
                       [](std::byte value) { return value == std::byte{kGuard}; });
  };
  for_each_tensor([&](const Slot& slot, const std::byte* data) {
    if (!whole(data - kGuardBytes) || !whole(data + slot.bytes)) broken = slot.spec.name;
    return !broken;
  });
  return broken;
}

}  // namespace strobe::trace
