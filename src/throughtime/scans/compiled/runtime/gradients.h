// The sums over rows in dW: blocks of rows of dz and of an operand, packed, by small tiles.

#pragma once

#include "products.h"

constexpr long BLOCK_ROWS = 256;  // rows summed at a time in dW
constexpr long BLOCK_WORDS = BLOCK_ROWS / PAIR;
constexpr int GR = least(GRAD_R, W);

// c[r][v] += sum over k of a[k][r] * w[k][v], both packed; k counts words.
template <int V>
static void gradient_tile(long K, const real *a, const real *w, real *const *c, long column) {
    vec sum[GR][V];
#pragma GCC unroll 8
    for (int r = 0; r < GR; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            sum[r][v] = vec{};
            __builtin_prefetch(c[r] + column + v * W);
        }
    for (long k = 0; k < K; k++, a += GR, w += V * W)
        add_words<GR, V>(sum, [&](int r) { return all_bits((const item *)(a + r), PAIR); }, w);
#pragma GCC unroll 8
    for (int r = 0; r < GR; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            real *to = c[r] + column + v * W;
            store(to, load(to) + sum[r][v]);
        }
}

static void gradient_tile(int V, long K, const real *a, const real *w, real *const *c, long column) {
    switch (V) {
    case 1: return gradient_tile<1>(K, a, w, c, column);
    case 2: return gradient_tile<2>(K, a, w, c, column);
    case 3: return gradient_tile<3>(K, a, w, c, column);
    default: return gradient_tile<4>(K, a, w, c, column);
    }
}

// The tile at the right edge, where fewer than V whole vectors are left.
static void gradient_edge(int V, long K, const real *a, const real *w, real *const *to,
                          long column, long width) {
    vec sums[GR][GRAD_V] = {};
    real *row[GR];
    for (int r = 0; r < GR; r++) row[r] = (real *)sums[r];
    gradient_tile(V, K, a, w, row, 0);
    for (int r = 0; r < GR; r++)
        for (long i = 0; i < width; i++) to[r][column + i] += row[r][i];
}

static void interleave(item *to, const item *first, const item *second) {
    for (int r = 0; r < GR; r++) to[PAIR * r] = first[r], to[PAIR * r + PAIR - 1] = second[r];
}
