// Cases of the CPU attention kernel: random data behind guard pages, a plain FP64 reference, the run as a
// planner would make it, and how far a result lies outside the tolerance.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/attention/attention_kernel.h"
#include "op/tolerance.h"

namespace strobe::cpu::kernel_test {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// ---- Buffers ----

inline float get(const void* data, Dtype dtype, std::int64_t i) {
  switch (dtype) {
    case Dtype::kF32:
      return static_cast<const float*>(data)[i];
    case Dtype::kF16:
      return static_cast<float>(static_cast<const F16*>(data)[i]);
    case Dtype::kBf16:
      return static_cast<float>(static_cast<const Bf16*>(data)[i]);
    case Dtype::kE4m3:
      return static_cast<float>(static_cast<const E4m3*>(data)[i]);
    default:
      return static_cast<float>(static_cast<const E5m2*>(data)[i]);
  }
}
inline void set(void* data, Dtype dtype, std::int64_t i, float value) {
  switch (dtype) {
    case Dtype::kF32:
      static_cast<float*>(data)[i] = value;
      return;
    case Dtype::kF16:
      static_cast<F16*>(data)[i] = F16(value);
      return;
    case Dtype::kBf16:
      static_cast<Bf16*>(data)[i] = Bf16(value);
      return;
    case Dtype::kE4m3:
      static_cast<E4m3*>(data)[i] = E4m3(value);
      return;
    default:
      static_cast<E5m2*>(data)[i] = E5m2(value);
      return;
  }
}

// `count` elements that end at an unreadable page, filled with NaN.
class Guarded {
 public:
  Guarded(Dtype dtype, std::int64_t count) : dtype_(dtype) {
    const std::size_t bytes = static_cast<std::size_t>(count) * size_of(dtype);
    mapped_ = (bytes + kPage - 1) / kPage * kPage + kPage;
    base_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + mapped_ - kPage, kPage, PROT_NONE);
    data_ = base_ + mapped_ - kPage - bytes;
    std::memset(data_, 0xff, bytes);  // NaN in every format here
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }
  char* data() { return data_; }
  float at(std::int64_t i) const { return get(data_, dtype_, i); }
  void put(std::int64_t i, float value) { set(data_, dtype_, i, value); }

 private:
  static constexpr std::size_t kPage = 65536;
  Dtype dtype_;
  std::size_t mapped_;
  char *base_, *data_;
};

inline float normal(std::mt19937& random) {
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>(random() >> 8) * 0x1p-24f - 0.5f;
  return sum * 1.732f;
}

// ---- A case and its data ----

struct Case {
  Dtype q = Dtype::kBf16, kv = Dtype::kBf16, out = Dtype::kF32;
  int page_size = 16;  // 0: ragged
  bool hnd = true;
  int kv_heads = 2, group = 4, dim_qk = 64, dim_vo = 64;
  int heads_together = 0;  // KV heads of a call; 0: all
  AttentionMask mask = AttentionMask::kNone;
  int window_left = -1;
  float soft_cap = 0;
  bool alibi = false, sinks = false;
  int rotary_dim = 0;
  bool interleave = false;
  std::vector<std::pair<int, int>> requests = {{1, 100}};  // query tokens, KV tokens
  int item_tokens = 1 << 20;                               // query tokens of an item
  int parts = 1;                                           // pieces of the KV range
  unsigned seed = 1;

  std::string text() const {
    std::ostringstream s;
    s << "q " << name(q) << " kv " << name(kv) << " out " << name(out) << " page " << page_size
      << (hnd ? " HND" : " NHD") << " heads " << kv_heads << "x" << group << " dims " << dim_qk << "/"
      << dim_vo << " mask " << static_cast<int>(mask) << " window " << window_left << " cap " << soft_cap
      << " alibi " << alibi << " sinks " << sinks << " rope " << rotary_dim << (interleave ? "i" : "")
      << " item_tokens " << item_tokens << " parts " << parts << " seed " << seed << " requests";
    for (auto [qo, len] : requests) s << " " << qo << ":" << len;
    return s.str();
  }
};

struct Data {
  explicit Data(const Case& the_case);

  const Case c;
  int heads = 0, tokens = 0;
  std::int64_t page_stride = 0, token_stride_k = 0, head_stride_k = 0, token_stride_v = 0, head_stride_v = 0,
               page_stride_v = 0;
  std::vector<std::int32_t> qo_indptr{0}, kv_indptr{0}, kv_indices, kv_len;
  std::vector<std::uint8_t> mask_bytes;
  std::vector<std::int64_t> mask_indptr{0};
  std::vector<float> slopes, sinks, inv_freq;
  std::unique_ptr<Guarded> q, k, v;

  std::int64_t kv_row(int request, int kv, bool value) const {  // element offset of head 0
    const std::int64_t token = value ? token_stride_v : token_stride_k,
                       page = value ? page_stride_v : page_stride;
    if (c.page_size == 0) return (kv_indptr[request] + kv) * token;
    return kv_indices[kv_indptr[request] + kv / c.page_size] * page + kv % c.page_size * token;
  }
  std::int64_t q_row(int request, int qo, int head) const {
    return ((qo_indptr[request] + qo) * std::int64_t{heads} + head) * c.dim_qk;
  }
  bool attends(int request, int qo, int kv) const;
  AttentionProblem problem() const;
};

inline Data::Data(const Case& the_case) : c(the_case), heads(c.kv_heads * c.group) {
  std::mt19937 random(c.seed);
  int pages = 0, kv_tokens = 0;
  for (auto [qo, len] : c.requests) {
    tokens += qo;
    kv_tokens += len;
    qo_indptr.push_back(tokens);
    if (c.page_size > 0) pages += (len + c.page_size - 1) / c.page_size;
    kv_indptr.push_back(c.page_size > 0 ? pages : kv_tokens);
    kv_len.push_back(len);
    const std::int64_t bits = std::int64_t{qo} * len;
    mask_indptr.push_back(mask_indptr.back() + (bits + 7) / 8);
  }
  for (int i = 0; i < pages; ++i) kv_indices.push_back(i);
  std::shuffle(kv_indices.begin(), kv_indices.end(), random);
  // Page strides leave a gap after each page, as sliced caches have.
  const int gap = 8;
  const auto layout = [&](int dim, std::int64_t& page, std::int64_t& token, std::int64_t& head) {
    token = c.page_size > 0 && c.hnd ? dim : std::int64_t{c.kv_heads} * dim;
    head = c.page_size > 0 && c.hnd ? std::int64_t{c.page_size} * dim : dim;
    page = std::int64_t{c.page_size} * c.kv_heads * dim + gap;
    return c.page_size > 0 ? pages * page : kv_tokens * token;
  };
  const std::int64_t k_count = layout(c.dim_qk, page_stride, token_stride_k, head_stride_k);
  const std::int64_t v_count = layout(c.dim_vo, page_stride_v, token_stride_v, head_stride_v);
  q = std::make_unique<Guarded>(c.q, std::int64_t{tokens} * heads * c.dim_qk);
  k = std::make_unique<Guarded>(c.kv, k_count);
  v = std::make_unique<Guarded>(c.kv, v_count);
  for (std::int64_t i = 0; i < std::int64_t{tokens} * heads * c.dim_qk; ++i) q->put(i, normal(random));
  for (int r = 0; r < static_cast<int>(c.requests.size()); ++r)
    for (int t = 0; t < kv_len[r]; ++t)
      for (int h = 0; h < c.kv_heads; ++h) {
        for (int d = 0; d < c.dim_qk; ++d)
          k->put(kv_row(r, t, false) + h * head_stride_k + d, normal(random));
        for (int d = 0; d < c.dim_vo; ++d) v->put(kv_row(r, t, true) + h * head_stride_v + d, normal(random));
      }
  mask_bytes.resize(static_cast<std::size_t>(mask_indptr.back()));
  for (auto& byte : mask_bytes) byte = static_cast<std::uint8_t>(random() | random());
  for (int h = 0; h < heads; ++h) {
    slopes.push_back(0.05f * static_cast<float>(h + 1));
    sinks.push_back(normal(random));
  }
  for (int i = 0; i < c.rotary_dim / 2; ++i)
    inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / c.rotary_dim)));
}

inline bool Data::attends(int request, int qo, int kv) const {
  const int len = kv_len[request], qo_len = c.requests[request].first, q_pos = len - qo_len + qo;
  if (c.window_left >= 0 && kv < q_pos - c.window_left) return false;
  if (c.mask == AttentionMask::kCausal) return kv <= q_pos;
  if (c.mask == AttentionMask::kCustom) {
    const std::int64_t bit = std::int64_t{qo} * len + kv;
    return mask_bytes[static_cast<std::size_t>(mask_indptr[request] + bit / 8)] >> (bit % 8) & 1;
  }
  return true;
}

inline AttentionProblem Data::problem() const {
  AttentionProblem p{};
  p.q = q->data(), p.q_stride_token = std::int64_t{heads} * c.dim_qk, p.q_stride_head = c.dim_qk,
  p.q_dtype = c.q;
  p.k = k->data(), p.k_stride_page = page_stride, p.k_stride_token = token_stride_k,
  p.k_stride_head = head_stride_k;
  p.v = v->data(), p.v_stride_page = page_stride_v, p.v_stride_token = token_stride_v,
  p.v_stride_head = head_stride_v;
  p.kv_dtype = c.kv;
  p.qo_indptr = qo_indptr.data(), p.kv_indptr = kv_indptr.data(), p.kv_indices = kv_indices.data();
  p.page_size = c.page_size, p.kv_len = kv_len.data();
  p.num_qo_heads = heads, p.num_kv_heads = c.kv_heads, p.head_dim_qk = c.dim_qk, p.head_dim_vo = c.dim_vo;
  p.sm_scale = 1.0f / std::sqrt(static_cast<float>(c.dim_qk));
  p.v_scale = 1.25f;
  p.logits_soft_cap = c.soft_cap, p.window_left = c.window_left, p.mask = c.mask;
  p.custom_mask = mask_bytes.data(), p.custom_mask_indptr = mask_indptr.data();
  p.alibi_slopes = c.alibi ? slopes.data() : nullptr;
  p.sinks = c.sinks ? sinks.data() : nullptr;
  p.rope_inv_freq = c.rotary_dim > 0 ? inv_freq.data() : nullptr;
  p.rotary_dim = c.rotary_dim, p.rope_interleave = c.interleave;
  return p;
}

// ---- FP64 reference ----

struct Result {
  std::vector<double> out, lse;  // [tokens][heads][dim_vo], [tokens][heads]
};

inline std::vector<double> rotated(const Data& d, const Guarded& from, std::int64_t offset, int position) {
  std::vector<double> x(static_cast<std::size_t>(d.c.dim_qk));
  for (int i = 0; i < d.c.dim_qk; ++i) x[i] = from.at(offset + i);
  for (int i = 0; i < d.c.rotary_dim / 2; ++i) {
    const int first = d.c.interleave ? 2 * i : i,
              second = d.c.interleave ? 2 * i + 1 : i + d.c.rotary_dim / 2;
    const double angle = position * static_cast<double>(d.inv_freq[i]), a = x[first], b = x[second];
    x[first] = a * std::cos(angle) - b * std::sin(angle);
    x[second] = b * std::cos(angle) + a * std::sin(angle);
  }
  return x;
}

inline void reference_row(const Data& d, int request, int qo, int head,
                          const std::vector<std::vector<double>>& keys,
                          const std::vector<std::vector<double>>& values, double* out, double* lse) {
  const int len = d.kv_len[request], q_pos = len - d.c.requests[request].first + qo;
  const std::vector<double> q = rotated(d, *d.q, d.q_row(request, qo, head), q_pos);
  const float sm_scale = 1.0f / std::sqrt(static_cast<float>(d.c.dim_qk));
  std::vector<double> logits;
  std::vector<int> tokens;
  double top = d.c.sinks ? static_cast<double>(d.sinks[head]) : -INFINITY;
  for (int t = 0; t < len; ++t) {
    if (!d.attends(request, qo, t)) continue;
    double x = 0;
    for (int i = 0; i < d.c.dim_qk; ++i) x += q[i] * keys[t][i];
    x *= static_cast<double>(sm_scale);
    if (d.c.alibi) x += static_cast<double>(d.slopes[head]) * (t - q_pos);
    if (d.c.soft_cap > 0) x = d.c.soft_cap * std::tanh(x / d.c.soft_cap);
    logits.push_back(x);
    tokens.push_back(t);
    top = std::max(top, x);
  }
  double sum = d.c.sinks ? std::exp(d.sinks[head] - top) : 0;
  std::vector<double> acc(static_cast<std::size_t>(d.c.dim_vo));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const double weight = std::exp(logits[i] - top);
    sum += weight;
    for (int j = 0; j < d.c.dim_vo; ++j) acc[j] += weight * values[tokens[i]][j];
  }
  for (int j = 0; j < d.c.dim_vo; ++j) out[j] = sum == 0 ? 0 : acc[j] / sum * 1.25;
  *lse = sum == 0 ? -INFINITY : (top + std::log(sum)) / std::log(2.0);
}

inline Result reference(const Data& d) {
  Result r;
  r.out.resize(static_cast<std::size_t>(d.tokens) * d.heads * d.c.dim_vo);
  r.lse.resize(static_cast<std::size_t>(d.tokens) * d.heads);
  for (int request = 0; request < static_cast<int>(d.c.requests.size()); ++request)
    for (int kv_head = 0; kv_head < d.c.kv_heads; ++kv_head) {
      std::vector<std::vector<double>> keys, values;
      for (int t = 0; t < d.kv_len[request]; ++t) {
        keys.push_back(rotated(d, *d.k, d.kv_row(request, t, false) + kv_head * d.head_stride_k, t));
        std::vector<double> value(static_cast<std::size_t>(d.c.dim_vo));
        for (int i = 0; i < d.c.dim_vo; ++i)
          value[i] = d.v->at(d.kv_row(request, t, true) + kv_head * d.head_stride_v + i);
        values.push_back(std::move(value));
      }
      for (int qo = 0; qo < d.c.requests[request].first; ++qo)
        for (int g = 0; g < d.c.group; ++g) {
          const std::size_t row =
              static_cast<std::size_t>(d.qo_indptr[request] + qo) * d.heads + kv_head * d.c.group + g;
          reference_row(d, request, qo, kv_head * d.c.group + g, keys, values, &r.out[row * d.c.dim_vo],
                        &r.lse[row]);
        }
    }
  return r;
}

// ---- Running the kernel ----

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};

// Runs `p`, whose shapes are those of `d`, as the planner would: items of some query tokens and pieces of the
// KV range.
inline Result run(const Data& d, AttentionProblem p, int level) {
  const int width = d.c.dim_vo, parts = d.c.parts;
  const std::size_t rows = static_cast<std::size_t>(d.tokens) * d.heads;
  Guarded out(d.c.out, static_cast<std::int64_t>(rows) * width);
  std::vector<float> lse(rows, NAN);
  p.out = out.data(), p.out_stride_token = std::int64_t{d.heads} * width, p.out_stride_head = width,
  p.out_dtype = d.c.out;
  p.lse = lse.data(), p.lse_stride_token = d.heads, p.lse_stride_head = 1;
  int max_rows = 1;
  for (auto [qo, len] : d.c.requests)
    max_rows = std::max(max_rows, std::min(qo, d.c.item_tokens) * d.c.group);
  std::vector<float> partial_out(static_cast<std::size_t>(parts) * d.c.kv_heads * max_rows * width, NAN);
  std::vector<float> partial_lse(static_cast<std::size_t>(parts) * d.c.kv_heads * max_rows, NAN);
  p.partial_out = partial_out.data(), p.partial_lse = partial_lse.data(), p.partial_rows = max_rows;

  const std::size_t bytes = attention_scratch_bytes.level[level](p, max_rows);
  std::unique_ptr<void, FreeDeleter> memory(std::aligned_alloc(64, bytes + 64));
  std::memset(memory.get(), 0xff, bytes + 64);
  for (int request = 0; request < static_cast<int>(d.c.requests.size()); ++request)
    for (int begin = 0; begin < d.c.requests[request].first; begin += d.c.item_tokens) {
      const int end = std::min(d.c.requests[request].first, begin + std::min(d.c.item_tokens, 1 << 20));
      const int len = d.kv_len[request];
      std::vector<AttentionItem> items;
      for (int part = 0; part < parts; ++part)
        items.push_back({request, begin, end, static_cast<int>(std::int64_t{len} * part / parts),
                         static_cast<int>(std::int64_t{len} * (part + 1) / parts), parts > 1 ? part : -1});
      const int heads = d.c.heads_together > 0 ? d.c.heads_together : d.c.kv_heads;
      for (int kv_head = 0; kv_head < d.c.kv_heads; kv_head += heads)
        for (const AttentionItem& item : items)
          attention_item.level[level](p, item, kv_head, std::min(kv_head + heads, d.c.kv_heads),
                                      memory.get());
      for (int kv_head = 0; parts > 1 && kv_head < d.c.kv_heads; ++kv_head)
        attention_merge.level[level](p, items.data(), parts, kv_head, memory.get());
    }
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(static_cast<unsigned char*>(memory.get())[bytes + i], 0xff) << "written behind the scratch";

  Result r;
  for (std::size_t i = 0; i < rows * width; ++i) r.out.push_back(out.at(static_cast<std::int64_t>(i)));
  r.lse.assign(lse.begin(), lse.end());
  return r;
}

// ---- Comparison ----

// By the library's rule (op/tolerance.h): P is rounded to bf16 where the bf16 dot engine runs; sums run over
// the head dim and the KV tokens.
inline op::Tolerance tolerance(const Case& c) {
  const bool bf16_dot =
      c.q == Dtype::kBf16 && c.kv != Dtype::kF16 && c.kv != Dtype::kF32 && c.rotary_dim == 0;
  int longest = 0;
  for (auto [qo, len] : c.requests) longest = std::max(longest, len);
  return op::tolerance(c.out, {bf16_dot ? Dtype::kBf16 : Dtype::kF32, c.dim_qk + longest});
}

inline double excess_of(double value, double expected, double limit) {
  if (std::isnan(expected) || std::isinf(expected))
    return (std::isnan(expected) && std::isnan(value)) || value == expected ? 0 : INFINITY;
  if (!std::isfinite(value)) return INFINITY;
  const double error = std::abs(value - expected);
  return error == 0 ? 0 : error / limit;
}

// The largest error as a multiple of what is allowed.
inline double excess(const Data& d, const Result& result, const Result& expected) {
  const op::Tolerance t = tolerance(d.c);
  constexpr double kLse = 5e-5;  // of sums of 2^x with x exact to a few f32 roundings of a logit
  const std::size_t width = static_cast<std::size_t>(d.c.dim_vo);
  double worst = 0;
  for (std::size_t row = 0; row < expected.lse.size(); ++row) {
    worst = std::max(
        worst, excess_of(result.lse[row], expected.lse[row], kLse * (1 + std::abs(expected.lse[row]) / 8)));
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i)
      squares += expected.out[row * width + i] * expected.out[row * width + i];
    const double rms = std::sqrt(squares / static_cast<double>(width));
    for (std::size_t i = 0; i < width; ++i) {
      const double e = expected.out[row * width + i];
      worst = std::max(worst, excess_of(result.out[row * width + i], e,
                                        t.relative * std::abs(e) + t.of_rms * rms + t.absolute));
    }
  }
  return worst;
}

inline std::vector<int> levels() {
  std::vector<int> list;
  for (int level = 0; level < kIsaCount; ++level)
    if (supported(static_cast<Isa>(level))) list.push_back(level);
  return list;
}
inline std::string level_name(int level) { return std::string(name(static_cast<Isa>(level))); }

inline void check(const Case& c) {
  const Data d(c);
  const Result expected = reference(d);
  for (int level : levels())
    EXPECT_LE(excess(d, run(d, d.problem(), level), expected), 1.0) << level_name(level) << ": " << c.text();
}

}  // namespace strobe::cpu::kernel_test
