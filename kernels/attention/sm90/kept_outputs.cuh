// The second level of e4m3 sums.
//
// Tensor cores cut each e4m3 product off about 13 bits below the sum that it is added to. Of values of one
// sign a sum over 1024 tokens loses 1 %, over 16384 tokens 18 %, over 65536 44 % (measured on an H200; f16
// and bf16 products are not cut). So after every kBlocks blocks, 384 tokens, a math thread adds its outputs
// to what it keeps in shared memory, where nobody else looks, and begins others: 0.4 % get lost at any
// length. It takes 96 instructions of 1,300; sums of every block for themselves, in registers, took as many
// and room for a third group.
#pragma once

#include "attention/sm90/softmax.cuh"

namespace strobe::kernel {

struct KeptOutputs {
  static constexpr int kBlocks = 4, kThreads = kGroups * kGroupThreads;

  int32_t blocks;    // of the tile, whose products are summed up
  float maximum[2];  // of the rows, to which what is kept refers

  STROBE_DEVICE void begin_tile() { blocks = 0; }
  // Whether the next product begins sums.
  STROBE_DEVICE bool is_fresh() const { return blocks % kBlocks == 0; }
  STROBE_DEVICE bool exists() const { return blocks >= kBlocks; }

  STROBE_DEVICE static float4& at(char* shared, int number) {
    return reinterpret_cast<float4*>(shared + kKeptAt)[number * kThreads + static_cast<int32_t>(threadIdx.x)];
  }

  // Counts a block; its sums and those before are kept where they are so many.
  STROBE_DEVICE void count_block(char* shared, Outputs& out, const RowStates& state,
                                 const float (&scale)[2]) {
    if ((blocks + 1) % kBlocks == 0) {
      if (exists()) finish(shared, out, state, scale);
      keep(shared, out, state);
    }
    ++blocks;
  }

  STROBE_DEVICE void keep(char* shared, const Outputs& out, const RowStates& state) {
#pragma unroll
    for (int i = 0; i < kOutputs; i += 4) at(shared, i / 4) = {out[i], out[i + 1], out[i + 2], out[i + 3]};
    maximum[0] = state.maximum[0];
    maximum[1] = state.maximum[1];
  }

  // Adds it to the outputs.
  STROBE_DEVICE void finish(char* shared, Outputs& out, const RowStates& state,
                            const float (&scale)[2]) const {
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; ++half)
      factor[half] = maximum[half] == state.maximum[half]
                         ? 1.0f
                         : exp2_approx((maximum[half] - state.maximum[half]) * scale[half]);
#pragma unroll
    for (int i = 0; i < kOutputs; i += 4) {
      const float4 x = at(shared, i / 4);
      out[i] += x.x * factor[0];
      out[i + 1] += x.y * factor[0];
      out[i + 2] += x.z * factor[1];
      out[i + 3] += x.w * factor[1];
    }
  }
};

}  // namespace strobe::kernel
