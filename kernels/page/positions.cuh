// Request and position of each appended token; a thread a token.
#include "page/page_params.h"
#include "ptx/dependency.h"

extern "C" __global__ void strobe_positions(const __grid_constant__ strobe::kernel::PositionsParams params) {
  strobe::kernel::let_next_kernel_begin();
  strobe::kernel::wait_for_kernel_before();
  const int token = blockIdx.x * blockDim.x + threadIdx.x;
  if (token >= params.tokens) return;
  // The request that begins last at or before the token; behind its end lies padding.
  int low = 0, high = params.batch_size;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (params.append_indptr[middle] <= token)
      low = middle;
    else
      high = middle - 1;
  }
  const bool padding = low == params.batch_size;
  params.batch_indices[token] = padding ? -1 : low;
  params.positions[token] = padding ? -1 : params.seq_lens[low] - (params.append_indptr[low + 1] - token);
}
