// 8x8 matrices of 16-bit elements in the layout that tensor cores take: lane 4 g + c holds elements 2c and
// 2c+1 of row g in one word. All lanes of a warp take part.
#pragma once

#include "ptx/shared_address.h"

namespace strobe::kernel {

// Four matrices from shared memory: `row` of lane 8 i + r is the address of row r of matrix i, 16 bytes long
// and aligned. matrix[i] is this lane's word of matrix i.
STROBE_DEVICE void load_matrices(uint32_t (&matrix)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrix[0]), "=r"(matrix[1]), "=r"(matrix[2]), "=r"(matrix[3])
               : "r"(row)
               : "memory");
}

// The same of the transposed matrices: lane 4 g + c gets elements [2c][g] and [2c+1][g].
STROBE_DEVICE void load_matrices_transposed(uint32_t (&matrix)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrix[0]), "=r"(matrix[1]), "=r"(matrix[2]), "=r"(matrix[3])
               : "r"(row)
               : "memory");
}

// Four matrices to shared memory, as load_matrices takes them from there.
STROBE_DEVICE void store_matrices(SharedAddress row, const uint32_t (&matrix)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(matrix[0]),
               "r"(matrix[1]), "r"(matrix[2]), "r"(matrix[3])
               : "memory");
}

// The word of the transposed matrix.
STROBE_DEVICE uint32_t transpose_matrix(uint32_t word) {
  uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(word));
  return transposed;
}

}  // namespace strobe::kernel
