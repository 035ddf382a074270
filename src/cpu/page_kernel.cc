#include "cpu/page_kernel.h"

#include "cpu/simd_copy.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// Moves the rows of one token, from its first to its slot's first element.
typedef void MoveRows(const PagedRows& rows, const char* in, char* out);

// Calls f(row offset in `in`, row offset in `out`) for each row of a token, in elements, and fetches later
// rows. One long row needs no help.
template <int kElementBytes, class F>
STROBE_INLINE void for_each_row(const PagedRows& rows, const char* in, F f) {
  const int64_t row_bytes = rows.dim * kElementBytes;
  const char* later = in + rows_ahead(row_bytes) * rows.in_head_stride * kElementBytes;
  for (int64_t head = 0; head < rows.heads; ++head) {
    const int64_t from = head * rows.in_head_stride;
    if (rows.heads > 1) prefetch_bytes(later + from * kElementBytes, row_bytes);
    f(from, head * rows.head_stride);
  }
}

template <int kElementBytes, bool kStream>
void copy_rows(const PagedRows& rows, const char* in, char* out) {
  for_each_row<kElementBytes>(rows, in, [&](int64_t from, int64_t to) {
    copy_bytes<kStream>(out + to * kElementBytes, in + from * kElementBytes, rows.dim * kElementBytes);
  });
}

template <class In, class Out, bool kStream>
STROBE_INLINE void convert_row(const In* in, Out* out, int64_t dim, F32 factor) {
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const F32 x = load(in + i) * factor;
    if constexpr (kStream)
      stream(out + i, x);
    else
      store(out + i, x);
  }
  if (i < dim) {
    const int left = static_cast<int>(dim - i);
    store_n(out + i, load_n(in + i, left) * factor, left);
  }
}

template <class In, class Out, bool kStream>
void convert_rows(const PagedRows& rows, const char* in, char* out) {
  const F32 factor = splat(rows.factor);
  for_each_row<sizeof(In)>(rows, in, [&](int64_t from_offset, int64_t to_offset) {
    const In* from = reinterpret_cast<const In*>(in) + from_offset;
    Out* to = reinterpret_cast<Out*>(out) + to_offset;
    const bool aligned = reinterpret_cast<uintptr_t>(to) % (sizeof(Out) * kLanes) == 0;
    if (kStream && aligned)
      convert_row<In, Out, true>(from, to, rows.dim, factor);
    else
      convert_row<In, Out, false>(from, to, rows.dim, factor);
  });
}

template <class In, bool kStream>
MoveRows* converter_to(Dtype out) {
  return out == Dtype::kE4m3 ? &convert_rows<In, e4m3_t, kStream> : &convert_rows<In, e5m2_t, kStream>;
}

template <bool kStream>
MoveRows* mover(const PagedRows& rows) {
  if (rows.in_dtype == rows.out_dtype) switch (size_of(rows.in_dtype)) {
      case 1:
        return &copy_rows<1, kStream>;
      case 2:
        return &copy_rows<2, kStream>;
      default:
        return &copy_rows<4, kStream>;
    }
  switch (rows.in_dtype) {
    case Dtype::kF16:
      return converter_to<f16_t, kStream>(rows.out_dtype);
    case Dtype::kBf16:
      return converter_to<bf16_t, kStream>(rows.out_dtype);
    default:
      return converter_to<float, kStream>(rows.out_dtype);
  }
}

}  // namespace

void append_tokens(const PagedAppend& append, int64_t begin, int64_t end) {
  MoveRows* move[2];
  for (int i = 0; i < 2; ++i)
    move[i] = append.stream ? mover<true>(append.rows[i]) : mover<false>(append.rows[i]);
  for (int64_t token = begin; token < end; ++token) {
    const int32_t request = append.batch_indices[token], position = append.positions[token];
    if (request < 0 || position < 0) continue;
    const int64_t page = append.kv_indices[append.kv_indptr[request] + position / append.page_size];
    const int64_t slot = position % append.page_size;
    for (int i = 0; i < 2; ++i) {
      const PagedRows& rows = append.rows[i];
      const int64_t in = token * rows.in_token_stride,
                    out = page * rows.page_stride + slot * rows.slot_stride;
      move[i](rows, static_cast<const char*>(rows.in) + in * static_cast<int64_t>(size_of(rows.in_dtype)),
              static_cast<char*>(rows.out) + out * static_cast<int64_t>(size_of(rows.out_dtype)));
    }
  }
  if (append.stream) stream_fence();
}

}  // namespace strobe::cpu::STROBE_ISA
