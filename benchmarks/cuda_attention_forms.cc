// Attention on a GPU in its forms: masks, transforms of the logits and users' variants, by the generic
// kernels (cuda/sm80) beside the plain form.
//
//   cuda_attention_forms EXAMPLES [part of a name]
//
// EXAMPLES is the folder examples/variants. Batches of bf16 with 32 query and 8 KV heads of 128, pages of 16:
// four prompts of 4096 tokens, and decode of 64 requests of 4096 tokens and of one of 8192. A row is the
// median of seven runs of at least 5 ms between two events; data is random.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/event.h"
#include "cuda/graph.h"
#include "op/random.h"
#include "strobe/attention.h"
#include "strobe/error.h"
#include "strobe/tensor.h"

namespace {

using namespace strobe;

constexpr Device kGpu{DeviceType::kCuda, 0};
constexpr int kQueryHeads = 32, kKvHeads = 8, kHeadDim = 128, kPageSize = 16, kRepetitions = 7;
constexpr int kWindow = 1024, kTokensOfDocument = 1024;
constexpr double kSeconds = 5e-3;

struct Work {
  std::string name;
  int requests, qo_len, kv_len;
};

const Work kWorks[] = {
    {"prefill 4x4096", 4, 4096, 4096}, {"decode B64", 64, 1, 4096}, {"decode B1", 1, 1, 8192}};

cuda::DeviceBuffer on_device(const void* data, std::size_t bytes) {
  cuda::DeviceBuffer buffer(kGpu, std::max<std::size_t>(bytes, 16));
  buffer.upload({static_cast<const std::byte*>(data), bytes});
  return buffer;
}

template <class T>
cuda::DeviceBuffer on_device(const std::vector<T>& values) {
  return on_device(values.data(), values.size() * sizeof(T));
}

// Random numbers on the GPU.
struct GpuTensor {
  cuda::DeviceBuffer buffer;
  TensorView view;

  GpuTensor(Dtype dtype, std::initializer_list<std::int64_t> shape) {
    const Tensor numbers(dtype, shape);
    op::Random random(1);
    op::fill_normal(numbers, random);
    view = numbers;
    buffer = on_device(view.data, static_cast<std::size_t>(view.bytes()));
    view.data = buffer.data();
    view.device = kGpu;
  }
};

TensorView gpu_view(const cuda::DeviceBuffer& buffer, Dtype dtype, std::int64_t count) {
  TensorView view(buffer.data(), dtype, {count});
  view.device = kGpu;
  return view;
}

// What a plan has beside lengths, and the arguments of its runs.
struct Form {
  std::string name;
  AttentionPlanArgs plan;
  std::optional<VariantArguments> arguments;
};

class Bench {
 public:
  Bench(const Work& work, const std::string& examples)
      : work_(work),
        pages_of_request_(work.kv_len / kPageSize),
        q_(Dtype::kBf16, {work.requests * work.qo_len, kQueryHeads, kHeadDim}),
        k_(Dtype::kBf16, {work.requests * pages_of_request_, kPageSize, kKvHeads, kHeadDim}),
        v_(Dtype::kBf16, {work.requests * pages_of_request_, kPageSize, kKvHeads, kHeadDim}),
        out_(Dtype::kBf16, {work.requests * work.qo_len, kQueryHeads, kHeadDim}),
        slopes_(on_device(alibi_slopes(kQueryHeads))) {
    make_indices();
    make_mask();
    make_forms(examples);
  }

  void run(std::string_view wanted) {
    const cuda::OwnedStream stream(kGpu);
    for (Form& form : forms_) {
      const std::string name = work_.name + ", " + form.name;
      if (name.find(wanted) == std::string::npos) continue;
      BatchAttention attention;
      attention.plan(form.plan, Launch(stream, Backend::kCudaSm80));
      const AttentionRunArgs args{
          .q = q_.view,
          .k = k_.view,
          .v = v_.view,
          .out = out_.view,
          .variant_arguments = form.arguments ? form.arguments->view() : TensorView{}};
      const Launch launch(stream, Backend::kCudaSm80);
      const double seconds = time(stream, [&] { attention.run(args, launch); });
      print(name, seconds);
    }
  }

 private:
  void make_indices() {
    std::mt19937 engine(1);
    for (int r = 0; r <= work_.requests; ++r) {
      qo_indptr_.push_back(r * work_.qo_len);
      kv_indptr_.push_back(r * pages_of_request_);
    }
    kv_indices_.resize(static_cast<std::size_t>(kv_indptr_.back()));
    std::iota(kv_indices_.begin(), kv_indices_.end(), 0);
    std::shuffle(kv_indices_.begin(), kv_indices_.end(), engine);
    last_page_len_.assign(static_cast<std::size_t>(work_.requests), kPageSize);
  }

  // A causal mask, written out; and documents of kTokensOfDocument tokens.
  void make_mask() {
    const std::int64_t bytes = static_cast<std::int64_t>(work_.qo_len) * work_.kv_len / 8;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(bytes * work_.requests));
    for (std::int64_t r = 0; r < work_.requests; ++r)
      for (std::int64_t q = 0; q < work_.qo_len; ++q)
        for (std::int64_t kv = 0; kv <= work_.kv_len - work_.qo_len + q; ++kv)
          mask[static_cast<std::size_t>(r * bytes + (q * work_.kv_len + kv) / 8)] |=
              static_cast<std::uint8_t>(1 << kv % 8);
    for (int r = 0; r <= work_.requests; ++r) mask_indptr_.push_back(static_cast<std::int32_t>(r * bytes));
    mask_ = on_device(mask);
    std::vector<std::int32_t> documents(static_cast<std::size_t>(work_.kv_len));
    for (std::size_t i = 0; i < documents.size(); ++i)
      documents[i] = static_cast<std::int32_t>(i) / kTokensOfDocument;
    documents_ = on_device(documents);
    offsets_ = on_device(std::vector<std::int32_t>(static_cast<std::size_t>(work_.requests)));
  }

  AttentionPlanArgs plain() const {
    AttentionPlanArgs plan{.qo_indptr = TensorView::of(qo_indptr_),
                           .kv_indptr = TensorView::of(kv_indptr_),
                           .kv_indices = TensorView::of(kv_indices_),
                           .last_page_len = TensorView::of(last_page_len_),
                           .num_qo_heads = kQueryHeads,
                           .num_kv_heads = kKvHeads,
                           .head_dim_qk = kHeadDim,
                           .page_size = kPageSize,
                           .device = kGpu};
    plan.options.mask = MaskMode::kCausal;
    return plan;
  }

  template <class Change>
  void add(const std::string& name, Change change) {
    forms_.push_back({name, plain(), {}});
    change(forms_.back().plan);
  }

  void add_variant(const std::string& path, const std::string& struct_name,
                   std::vector<VariantTensor> tensors, std::vector<VariantScalar> scalars,
                   std::initializer_list<TensorView> values, std::initializer_list<double> numbers) {
    std::ifstream in(path);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    const AttentionVariant variant =
        define_attention_variant({struct_name, text, std::move(tensors), std::move(scalars)});
    forms_.push_back({"variant " + struct_name, plain(), VariantArguments(variant, values, numbers)});
    forms_.back().plan.variant = variant;
  }

  void make_forms(const std::string& examples) {
    add("plain", [](AttentionPlanArgs&) {});
    add("window of 1024", [](AttentionPlanArgs& plan) { plan.options.window_left = kWindow - 1; });
    add("soft cap", [](AttentionPlanArgs& plan) { plan.options.logits_soft_cap = 30; });
    add("ALiBi",
        [&](AttentionPlanArgs& plan) { plan.alibi_slopes = gpu_view(slopes_, Dtype::kF32, kQueryHeads); });
    add("custom mask", [&](AttentionPlanArgs& plan) {
      plan.options.mask = MaskMode::kCustom;
      plan.custom_mask = gpu_view(mask_, Dtype::kU8, static_cast<std::int64_t>(mask_.bytes()));
      plan.custom_mask_indptr = TensorView::of(mask_indptr_);
    });
    add("RoPE", [](AttentionPlanArgs& plan) { plan.options.pos_encoding = PosEncoding::kRope; });
    const auto f32 = VariantScalarType::kF32;
    add_variant(examples + "/soft_cap.h", "SoftCap", {}, {{"cap", f32}}, {}, {30});
    add_variant(examples + "/alibi.h", "Alibi", {{"slopes", Dtype::kF32}}, {},
                {gpu_view(slopes_, Dtype::kF32, kQueryHeads)}, {});
    add_variant(examples + "/sink_window.h", "SinkWindow", {},
                {{"num_sinks", VariantScalarType::kI32}, {"window", VariantScalarType::kI32}}, {},
                {4, kWindow});
    add_variant(
        examples + "/document_mask.h", "DocumentMask", {{"documents", Dtype::kI32}, {"offsets", Dtype::kI32}},
        {},
        {gpu_view(documents_, Dtype::kI32, work_.kv_len), gpu_view(offsets_, Dtype::kI32, work_.requests)},
        {});
    add_variant(examples + "/sigmoid.h", "Sigmoid", {}, {{"bias", f32}}, {}, {-8});
  }

  template <class F>
  static double time(const cuda::OwnedStream& stream, F call) {
    std::vector<double> seconds;
    int calls = 1;
    while (seconds.size() < kRepetitions) {
      cuda::Event start(kGpu), end(kGpu);
      call();
      start.record(stream);
      for (int i = 0; i < calls; ++i) call();
      end.record(stream);
      end.wait();
      const double elapsed = cuda::milliseconds_between(start, end) * 1e-3;
      if (elapsed < kSeconds)
        calls = static_cast<int>(kSeconds * 1.2 / elapsed * calls) + 1;
      else
        seconds.push_back(elapsed / calls);
    }
    std::nth_element(seconds.begin(), seconds.begin() + kRepetitions / 2, seconds.end());
    return seconds[kRepetitions / 2];
  }

  // Operations are those of the causal mask, whatever else a form hides.
  void print(const std::string& name, double seconds) const {
    const double kv_bytes = 2.0 * work_.requests * work_.kv_len * kKvHeads * kHeadDim * 2;
    const double pairs = work_.qo_len == 1 ? work_.kv_len : 0.5 * work_.qo_len * work_.qo_len;
    const double operations = 4.0 * work_.requests * pairs * kQueryHeads * kHeadDim;
    fmt::print("{:36} {:9.1f} us {:6.1f} TFLOP/s {:6.3f} TB/s\n", name, seconds * 1e6,
               operations / seconds * 1e-12, kv_bytes / seconds * 1e-12);
    std::fflush(stdout);
  }

  const Work& work_;
  int pages_of_request_;
  GpuTensor q_, k_, v_, out_;
  cuda::DeviceBuffer slopes_, mask_, documents_, offsets_;
  std::vector<std::int32_t> qo_indptr_, kv_indptr_, kv_indices_, last_page_len_, mask_indptr_;
  std::vector<Form> forms_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    fmt::print(stderr, "usage: cuda_attention_forms EXAMPLES [part of a name]\n");
    return 2;
  }
  for (const Work& work : kWorks) Bench(work, argv[1]).run(argc > 2 ? argv[2] : "");
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
