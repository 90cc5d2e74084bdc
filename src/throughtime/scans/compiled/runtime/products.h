// Matrix products over packed weights, the same bits for any division of the work.
//
// Every element of a result is one sum over k in rising order, whatever the tile, the block or the
// thread that computes it. A tile is R rows by V vectors of the result, kept in registers.

#pragma once

#include <algorithm>

#include "items.h"

#if TILES
constexpr int MAX_R = 8, MAX_V = 4, REGISTERS = 25;  // two tiles, twice
constexpr int GRAD_R = 8, GRAD_V = 2;
#elif defined(__AVX512F__)
constexpr int MAX_R = 8, MAX_V = 3, REGISTERS = 25;  // 32, less the weights and a broadcast
constexpr int GRAD_R = 8, GRAD_V = 3;
#elif defined(__AVX2__)
constexpr int MAX_R = 6, MAX_V = 2, REGISTERS = 13;
constexpr int GRAD_R = 4, GRAD_V = 3;
#else
constexpr int MAX_R = 6, MAX_V = 4, REGISTERS = 25;
constexpr int GRAD_R = 4, GRAD_V = 4;
#endif
constexpr int STEP_V = 4;        // of weights that are packed for steps: more sums at once for few rows
constexpr int BLOCK_UNITS = 12;  // vectors of units whose products and pieces follow each other
constexpr int BLOCK_K = VECTOR_BYTES == 64 ? 128 : 256;  // words of packed rows that stay in the nearest cache

constexpr int least(int a, int b) { return a < b ? a : b; }
constexpr int tile_rows(int V) { return least(MAX_R, REGISTERS / V); }

// The product of one operand with the weights of `count` slots from `slot` on, before the pieces of
// `stage`.
struct Product {
    int stage, operand, slot, count;
};

// k runs over `outer` stretches of `run` words, `jump` words apart in the left operand; the packed
// right operand is dense. `lone`: of the last word there is one item only.
struct Stretch {
    long outer, run, jump;
    bool lone = false;
};

// Where the rows of a result are: what the sums are added to, and where they go.
struct Rows {
    const real *const *from;
    real *const *to;
};

// sum[r][v] += the products of one word of each row with V packed words.
template <int R, int V, int part = 0, class Left>
static inline __attribute__((always_inline)) void add_words(vec (*sum)[V], Left left,
                                                            const real *w) {
    vec right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
        right[v] = part_of<part>(*(const vec *)(w + v * W));
        hold(right[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        vec one = part_of<part>(left(r));
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[r][v] = add_product(sum[r][v], one, right[v]);
    }
    if constexpr (part + 1 < PARTS) add_words<R, V, part + 1>(sum, left, w);
}

#if STORED_HALF
// The same with one half of V packed words.
template <int R, int V, int half>
static inline __attribute__((always_inline)) void add_half(vec (*sum)[V], const item *const *row,
                                                           long i, const real *w) {
    vec right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) right[v] = half_of<half>(load(w + v * W));
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        vec one = all_bits(row[r] + i + half, 1);
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[r][v] = fused(one, right[v], sum[r][v]);
    }
}
#endif

// One row alone is as fast as the weights of a step come: they are asked for early.
template <int V> static inline void fetch_ahead(const real *w) {
    constexpr int BYTES = 8192;
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) __builtin_prefetch((const char *)w + BYTES + v * VECTOR_BYTES);
}

// to[r][v] = from[r][v] + sum over k of a[r][k] * w[k][v]. On the way it fetches into the cache what
// comes next: a line for each k, `step` numbers apart.
template <int R, int V>
static void tile(Stretch k, const item *const *a, long at, const real *w, Rows c,
                 const long *column, const real *next, long step) {
    vec sum[R][V];
    const item *row[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        row[r] = a[r] + at * PAIR;
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            sum[r][v] = vec{};
            __builtin_prefetch(c.to[r] + column[v]);
        }
    }
    for (long o = 0; o < k.outer; o++) {
#if STORED_HALF
        for (long i = 0; i < k.run; i += 2, w += V * W) {
            __builtin_prefetch(next);
            next += step;
            if (R == 1 && V > MAX_V) fetch_ahead<V>(w);
            add_half<R, V, 0>(sum, row, i, w);
            if (i + 1 < k.run) add_half<R, V, 1>(sum, row, i, w);
        }
#else
        long run = PAIR > 1 && k.lone && o == k.outer - 1 ? k.run - 1 : k.run;
        for (long i = 0; i < run; i++, w += V * W) {
            __builtin_prefetch(next);
            next += step;
            if (R == 1 && V > MAX_V) fetch_ahead<V>(w);
            add_words<R, V>(sum, [&](int r) { return all_bits(row[r] + i * PAIR, PAIR); }, w);
        }
        if (PAIR > 1 && run < k.run)
            add_words<R, V>(sum, [&](int r) { return all_bits(row[r] + run * PAIR, 1); }, w);
#endif
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) row[r] += k.jump * PAIR;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            store(c.to[r] + column[v], load(c.from[r] + column[v]) + sum[r][v]);
}

typedef void (*Tile)(Stretch, const item *const *, long, const real *, Rows, const long *,
                     const real *, long);

template <int V, int R> constexpr Tile tile_or_null() {
    if constexpr (R <= tile_rows(V) && V <= std::max(MAX_V, STEP_V))
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

// to[row] = from[row] + a[row] * w for `rows` rows and the V vectors at `column`; w is one packed
// chunk. Sums of BLOCK_K products are added up one after the other.
static void chunk_product(int V, Stretch k, const item *const *a, const real *w, Rows c,
                          const long *column, long rows) {
    if (!k.outer || !k.run) {  // no inputs, or an x of width zero
        for (long r = 0; r < rows; r++)
            for (int v = 0; v < V; v++) store(c.to[r] + column[v], load(c.from[r] + column[v]));
        return;
    }
    long tiles = (rows + tile_rows(V) - 1) / tile_rows(V);
    // Blocks of whole stretches, or, where there is but one, of its parts.
    long outer_step = k.run >= BLOCK_K ? 1 : BLOCK_K / k.run;
    long run_step = k.run <= BLOCK_K ? k.run : BLOCK_K;
    for (long o = 0; o < k.outer; o += outer_step)
        for (long i = 0; i < k.run; i += run_step) {
            Stretch block = {std::min(outer_step, k.outer - o), std::min(run_step, k.run - i),
                             k.jump};
            block.lone = k.lone && o + block.outer == k.outer && i + block.run == k.run;
            const real *weights = w + (o * k.run + i) / STORED * V * W;
            const real *next = weights + block.outer * block.run / STORED * V * W;
            for (long t = 0; t < tiles; t++) {
                long first = rows * t / tiles, last = rows * (t + 1) / tiles;
                long part = t + V - tiles;  // the last tiles fetch the weights that follow
                bool fetches = part >= 0;
                tile_of(last - first, V)(
                    block, a + first, o * k.jump + i, weights, {c.from + first, c.to + first},
                    column, fetches ? next + part * (next - weights) / V : weights,
                    fetches ? W : 0);
            }
            c.from = c.to;
        }
}
