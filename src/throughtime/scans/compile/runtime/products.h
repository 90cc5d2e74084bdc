// Matrix products over packed weights, the same bits for any division of the work.
//
// Every element of a result is one sum over k in rising order, whatever the tile, the block or the
// thread that computes it. A tile is R rows by V vectors of the result, kept in registers.

#pragma once

#include "vectors.h"

#if defined(__AVX512F__)
constexpr int MAX_R = 8, MAX_V = 4, REGISTERS = 25;  // 32, less the weights and a broadcast
constexpr int GRAD_R = 8, GRAD_V = 3;
#elif defined(__AVX2__)
constexpr int MAX_R = 6, MAX_V = 2, REGISTERS = 13;
constexpr int GRAD_R = 4, GRAD_V = 3;
#else
constexpr int MAX_R = 6, MAX_V = 4, REGISTERS = 25;
constexpr int GRAD_R = 4, GRAD_V = 4;
#endif
constexpr int BLOCK_K = 128;  // rows of packed weights that stay in the nearest cache

constexpr int least(int a, int b) { return a < b ? a : b; }
constexpr int tile_rows(int V) { return least(MAX_R, REGISTERS / V); }

// The product of one operand with the weights of `count` slots from `slot` on, before the pieces of
// `stage`.
struct Product {
    int stage, operand, slot, count;
};

// k runs over `outer` stretches of `run` numbers, `jump` apart in the left operand; the packed
// right operand is dense.
struct Stretch {
    long outer, run, jump;
};

// c[r][v] += sum over k of a[r][k] * w[k][v].
template <int R, int V>
static void tile(Stretch k, const real *const *a, long at, const real *w, real *const *c,
                 const long *column) {
    vec sum[R][V];
    const real *row[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        row[r] = a[r] + at;
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[r][v] = load(c[r] + column[v]);
    }
    for (long o = 0; o < k.outer; o++) {
        for (long i = 0; i < k.run; i++) {
            vec right[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) right[v] = *(const vec *)(w + v * W);
            w += V * W;
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                vec left = all(row[r][i]);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) sum[r][v] += left * right[v];
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) row[r] += k.jump;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(c[r] + column[v], sum[r][v]);
}

typedef void (*Tile)(Stretch, const real *const *, long, const real *, real *const *, const long *);

template <int V, int R> constexpr Tile tile_or_null() {
    if constexpr (R <= tile_rows(V) && V <= MAX_V)
        return tile<R, V>;
    else
        return nullptr;
}
template <int V> struct TilesOf {
    static constexpr Tile of[9] = {nullptr,           tile_or_null<V, 1>(), tile_or_null<V, 2>(),
                                   tile_or_null<V, 3>(), tile_or_null<V, 4>(), tile_or_null<V, 5>(),
                                   tile_or_null<V, 6>(), tile_or_null<V, 7>(), tile_or_null<V, 8>()};
};
static Tile tile_of(int R, int V) {
    switch (V) {
    case 1: return TilesOf<1>::of[R];
    case 2: return TilesOf<2>::of[R];
    case 3: return TilesOf<3>::of[R];
    default: return TilesOf<4>::of[R];
    }
}

// c[row][column] += a[row] * w for `rows` rows and the V vectors at `column`; w is one packed chunk.
static void chunk_product(int V, Stretch k, const real *const *a, long at, const real *w,
                          real *const *c, const long *column, long rows) {
    if (!k.run) return;  // no inputs, or an x of width zero
    long tiles = (rows + tile_rows(V) - 1) / tile_rows(V);
    // Blocks of whole stretches, or, where there is but one, of its parts.
    long outer_step = k.run >= BLOCK_K ? 1 : BLOCK_K / k.run;
    long run_step = k.run <= BLOCK_K ? k.run : BLOCK_K;
    for (long o = 0; o < k.outer; o += outer_step)
        for (long i = 0; i < k.run; i += run_step) {
            Stretch block = {k.outer - o < outer_step ? k.outer - o : outer_step,
                             k.run - i < run_step ? k.run - i : run_step, k.jump};
            const real *from = w + (o * k.run + i) * V * W;
            for (long t = 0; t < tiles; t++) {
                long first = rows * t / tiles, last = rows * (t + 1) / tiles;
                tile_of(last - first, V)(block, a + first, at + o * k.jump + i, from, c + first,
                                         column);
            }
        }
}
