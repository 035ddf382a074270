// Tokens of each request of a paged cache; a thread a request.
#include "page/page_params.h"
#include "ptx/dependency.h"

extern "C" __global__ void strobe_seq_lens(const __grid_constant__ strobe::kernel::SeqLensParams params) {
  strobe::kernel::let_next_kernel_begin();
  strobe::kernel::wait_for_kernel_before();
  const int request = blockIdx.x * blockDim.x + threadIdx.x;
  if (request >= params.batch_size) return;
  const int pages = params.kv_indptr[request + 1] - params.kv_indptr[request];
  params.seq_lens[request] = max(pages - 1, 0) * params.page_size + params.kv_last_page_len[request];
}
