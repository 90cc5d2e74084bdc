// Matrices in the order in which products read them, and products of some rows with them.
//
// Every sum runs over k in rising order in one register, whatever rows stand beside it and whatever
// thread makes it: a row's result is the same bits in any batch. Weights are stored as reals, as the
// upper halves of floats, two along the sum in a word, or as bytes, four in a word, with a scale for
// each row of the matrix; sums are in reals.

#pragma once

#include "team.h"

constexpr int V = 4;  // vectors of a result that are summed side by side
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int MAX_R = 6;  // rows: of 32 registers, 24 hold sums
#else
constexpr int MAX_R = 2;
#endif
constexpr int AHEAD = 8192;  // bytes of weights that are asked for before they are used

// [chunk of V vectors of rows][words along the sum][V][W]; the last chunk is filled up with zeros.
struct Matrix {
    const void *at;     // null: there is none
    const real *scale;  // of bytes: [chunks * V * W]
    int64_t vectors, columns, kind;

    long chunks() const { return (vectors + V - 1) / V; }
};

// A word holds COUNT weights along the sum; `part` gives one of them as a real in each lane.
struct Reals {
    static constexpr int COUNT = 1;
    template <int j> static inline vec part(const char *w) { return *(const vec *)w; }
};
#if REAL_IS_FLOAT
struct Halves {
    static constexpr int COUNT = 2;
    template <int j> static inline vec part(const char *w) { return half_of<j>(*(const vec *)w); }
};
struct Bytes {
    static constexpr int COUNT = 4;
    template <int j> static inline vec part(const char *w) {
        typedef uint32_t bits __attribute__((vector_size(VECTOR_BYTES)));
        return __builtin_convertvector((mask)(*(const bits *)w << (24 - 8 * j)) >> 24, vec);
    }
};
#endif

// sum[r][v] += a[r][k + j] * w[v], of the items j of one word that exist.
template <class Stored, int R, int j = 0>
static inline __attribute__((always_inline)) void add_word(vec (*sum)[V], const real *const *a,
                                                           long k, const char *w, long K) {
    if (j > 0 && k + j >= K) return;
    vec right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
        right[v] = Stored::template part<j>(w + v * VECTOR_BYTES);
        hold(right[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        vec one = all(a[r][k + j]);
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[r][v] = fused(one, right[v], sum[r][v]);
    }
    if constexpr (j + 1 < Stored::COUNT) add_word<Stored, R, j + 1>(sum, a, k, w, K);
}

// to[r] = from[r] + W a[r] in the columns of one chunk.
template <class Stored, int R>
static void tile(const Matrix &m, long chunk, const real *const *a, const real *const *from,
                 real *const *to, const long *column) {
    constexpr long WORDS = V * VECTOR_BYTES;
    long K = m.columns, words = (K + Stored::COUNT - 1) / Stored::COUNT;
    const char *w = (const char *)m.at + chunk * words * WORDS;
    vec sum[R][V] = {};
    const real *row[R];
    for (int r = 0; r < R; r++) row[r] = a[r];
    long k = 0;
    for (; k + Stored::COUNT <= K; k += Stored::COUNT, w += WORDS) {
        if (R == 1)
            for (int v = 0; v < V; v++) __builtin_prefetch(w + AHEAD + v * VECTOR_BYTES);
        add_word<Stored, R>(sum, row, k, w, k + Stored::COUNT);
    }
    if (k < K) add_word<Stored, R>(sum, row, k, w, K);
    for (int v = 0; v < V; v++) {
        vec scale = m.scale ? load(m.scale + (chunk * V + v) * W) : all(1);
        for (int r = 0; r < R; r++)
            store(to[r] + column[v], fused(sum[r][v], scale, load(from[r] + column[v])));
    }
}

typedef void (*Tile)(const Matrix &, long, const real *const *, const real *const *, real *const *,
                     const long *);

template <class Stored> static Tile tile_of(long R) {
    static constexpr Tile of[] = {tile<Stored, 1>, tile<Stored, 2>,
#if defined(__AVX512F__) || defined(__aarch64__)
                                  tile<Stored, 3>, tile<Stored, 4>, tile<Stored, 5>, tile<Stored, 6>
#endif
    };
    return of[R - 1];
}
static Tile tile_of(long R, long kind) {
#if REAL_IS_FLOAT
    if (kind == 1) return tile_of<Halves>(R);
    if (kind == 2) return tile_of<Bytes>(R);
#endif
    return tile_of<Reals>(R);
}

// to[r] = from[r] + W a[r] of `rows` rows, in the chunks that are this member's. `place(f)` is where
// vector f of the result stands in a row, `beyond` where what fills up the last chunk may be written.
template <class Place>
static void product(const Matrix &m, long rows, const real *const *a, const real *const *from,
                    real *const *to, Place place, long beyond, const Member &member) {
    long groups = (rows + MAX_R - 1) / MAX_R;
    for (long chunk = member.first(m.chunks()); chunk < member.last(m.chunks()); chunk++) {
        long column[V];
        for (int v = 0; v < V; v++)
            column[v] = chunk * V + v < m.vectors ? place(chunk * V + v) : beyond;
        for (long g = 0; g < groups; g++) {
            long first = rows * g / groups, last = rows * (g + 1) / groups;
            tile_of(last - first, m.kind)(m, chunk, a + first, from + first, to + first, column);
        }
    }
}
