// Stands in for kernels/ptx/matrix.h.
#pragma once

#include "ptx/shared_address.h"

namespace strobe::kernel {

struct MatrixRow {
  uint32_t word[4];  // of the row that this lane's address names: two elements each
  uint32_t* result;
};

EMULATED const uint32_t* row_of_matrix(void* const* lanes, int matrix, int row) {
  return static_cast<const MatrixRow*>(lanes[matrix * 8 + row])->word;
}

EMULATED uint32_t element_of(uint32_t word, int element) { return word >> element % 2 * 16 & 0xffff; }

template <bool kTransposed>
EMULATED void deal_matrices(void* const* lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, c = lane % 4;
    for (int matrix = 0; matrix < 4; ++matrix)
      static_cast<const MatrixRow*>(lanes[lane])->result[matrix] =
          kTransposed ? element_of(row_of_matrix(lanes, matrix, 2 * c)[g / 2], g) |
                            element_of(row_of_matrix(lanes, matrix, 2 * c + 1)[g / 2], g) << 16
                      : row_of_matrix(lanes, matrix, g)[c];
  }
}

template <bool kTransposed>
EMULATED void read_matrices(uint32_t (&matrix)[4], SharedAddress address) {
  const void* place = reinterpret_cast<const void*>(address);
  emulated::machine->access(place, 16, 16, false);
  MatrixRow row;
  __builtin_memcpy(row.word, place, 16);
  row.result = matrix;
  emulated::machine->meet(0xffffffff, &row, deal_matrices<kTransposed>);
}

EMULATED void load_matrices(uint32_t (&matrix)[4], SharedAddress row) { read_matrices<false>(matrix, row); }
EMULATED void load_matrices_transposed(uint32_t (&matrix)[4], SharedAddress row) {
  read_matrices<true>(matrix, row);
}

struct MatrixWords {
  const uint32_t* word;  // this lane's of each matrix
  uint32_t row[4];       // for the row that its address names
};

EMULATED void gather_rows(void* const* lanes) {
  for (int lane = 0; lane < 32; ++lane)
    for (int c = 0; c < 4; ++c)
      static_cast<MatrixWords*>(lanes[lane])->row[c] =
          static_cast<const MatrixWords*>(lanes[lane % 8 * 4 + c])->word[lane / 8];
}

EMULATED void store_matrices(SharedAddress row, const uint32_t (&matrix)[4]) {
  MatrixWords words{matrix, {}};
  emulated::machine->meet(0xffffffff, &words, gather_rows);
  void* place = reinterpret_cast<void*>(row);
  emulated::machine->access(place, 16, 16, true);
  __builtin_memcpy(place, words.row, 16);
}

struct MatrixWord {
  uint32_t word, transposed;
};

EMULATED MatrixWord& word_of(void* const* lanes, int lane) { return *static_cast<MatrixWord*>(lanes[lane]); }

EMULATED void transpose_words(void* const* lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, c = lane % 4;
    word_of(lanes, lane).transposed = element_of(word_of(lanes, 2 * c * 4 + g / 2).word, g) |
                                      element_of(word_of(lanes, (2 * c + 1) * 4 + g / 2).word, g) << 16;
  }
}

EMULATED uint32_t transpose_matrix(uint32_t word) {
  MatrixWord mine{word, 0};
  emulated::machine->meet(0xffffffff, &mine, transpose_words);
  return mine.transposed;
}

}  // namespace strobe::kernel
