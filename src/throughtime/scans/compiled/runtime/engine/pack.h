// Weights into the order of `Matrix`, in one pass.

#pragma once

#include "engine/matrix.h"

// A word of COUNT weights along the sum, of W rows, from as many vectors.
template <class Stored> static inline vec word_of(const vec *k, vec scale) {
#if REAL_IS_FLOAT
    typedef uint32_t bits __attribute__((vector_size(VECTOR_BYTES)));
    if constexpr (Stored::COUNT == 2)  // whose lower halves are zeros
        return (vec)(((bits)k[1] & 0xffff0000u) | (bits)k[0] >> 16);
    if constexpr (Stored::COUNT == 4) {
        bits word = {};
        for (int j = 0; j < 4; j++) {
            vec nearest = (k[j] / scale + 12582912.0f) - 12582912.0f;  // 1.5 * 2^23 rounds
            word |= ((bits)__builtin_convertvector(nearest, mask) & 0xffu) << (8 * j);
        }
        return (vec)word;
    }
#endif
    return k[0];
}

// rows: of each row of the result where its `columns` weights lie, as many as whole chunks have.
template <class Stored> static void pack_rows(const Matrix &m, const real *const *rows, char *to) {
    long K = m.columns, words = (K + Stored::COUNT - 1) / Stored::COUNT;
    for (long f = 0; f < m.chunks() * V; f++) {
        const real *const *row = rows + f * W;
        char *at = to + (f / V * words * V + f % V) * VECTOR_BYTES;
        vec scale = m.scale ? load(m.scale + f * W) : all(1);
        for (long k0 = 0; k0 < K; k0 += W) {
            vec block[W];
            int some = std::min<long>(W, K - k0);
            for (int lane = 0; lane < W; lane++) block[lane] = load(row[lane] + k0, some);
            transpose(block);
            for (int k = 0; k < some; k += Stored::COUNT)
                store((real *)(at + (k0 + k) / Stored::COUNT * V * VECTOR_BYTES),
                      word_of<Stored>(block + k, scale));
        }
    }
}

// What one of the integers of each row stands for: the largest number of the row is 127 of it.
static void scale_rows(const Matrix &m, const real *const *rows, real *scale) {
    for (long f = 0; f < m.chunks() * V * W; f++) {
        real most = 0;
        for (long k = 0; k < m.columns; k++) most = std::max(most, std::abs(rows[f][k]));
        scale[f] = most > 0 ? most / 127 : 1;
    }
}

static void pack_matrix(const Matrix &m, const real *const *rows) {
    char *to = (char *)m.at;
#if REAL_IS_FLOAT
    if (m.kind == 1) return pack_rows<Halves>(m, rows, to);
    if (m.kind == 2) {
        scale_rows(m, rows, (real *)m.scale);
        return pack_rows<Bytes>(m, rows, to);
    }
#endif
    pack_rows<Reals>(m, rows, to);
}
