// Products with weights where they lie, for a step alone: worth it where weights are used once.
//
// Each element of a result is summed in the same order whatever rows stand beside it.

#pragma once

#include <algorithm>

#include "products.h"

// sum[r][v] += the products of as many items of each row as a vector of words holds.
template <int R, int V, int part = 0>
static inline __attribute__((always_inline)) void add_whole(vec (*sum)[V], const vec *left,
                                                            const vec *right) {
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 16
        for (int v = 0; v < V; v++)
            sum[r][v] = add_product(sum[r][v], part_of<part>(left[r]), part_of<part>(right[v]));
    if constexpr (part + 1 < PARTS) add_whole<R, V, part + 1>(sum, left, right);
}

// The products of R rows a [K] with W rows of weights that lie K apart: of those, `lanes` exist. As
// many sums at once as there are registers for.
template <int R>
static void rows_product(const item *const *a, const item *weights, long K, int lanes, vec *result) {
    constexpr int V = least(W, R > 2 ? 4 : 16 / R);
    vec sums[R][W];
    for (int i = 0; i < W; i += V) {
        vec sum[R][V], left[R], right[V];
        const item *row[V];
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) row[v] = weights + (i + v < lanes ? i + v : 0) * K;
#pragma GCC unroll 4
        for (int r = 0; r < R; r++)
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) sum[r][v] = vec{};
        for (long k = 0; k < K; k += W * PAIR) {
            long items = K - k;
            if (items >= W * PAIR) {
#pragma GCC unroll 4
                for (int r = 0; r < R; r++) left[r] = load_words(a[r] + k, W * PAIR);
#pragma GCC unroll 16
                for (int v = 0; v < V; v++) right[v] = load_words(row[v] + k, W * PAIR);
            } else {
                for (int r = 0; r < R; r++) left[r] = load_words(a[r] + k, items);
                for (int v = 0; v < V; v++) right[v] = load_words(row[v] + k, items);
            }
            add_whole<R, V>(sum, left, right);
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; r++)
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) sums[r][i + v] = sum[r][v];
    }
    for (int r = 0; r < R; r++) {
        transpose(sums[r]);
        for (int h = W / 2; h; h /= 2)
            for (int i = 0; i < h; i++) sums[r][i] += sums[r][i + h];
        result[r] = sums[r][0];
    }
}

static void rows_product(int R, const item *const *a, const item *weights, long K, int lanes,
                         vec *result) {
    switch (R) {
    case 1: return rows_product<1>(a, weights, K, lanes, result);
    case 2: return rows_product<2>(a, weights, K, lanes, result);
    case 3: return rows_product<3>(a, weights, K, lanes, result);
    default: return rows_product<4>(a, weights, K, lanes, result);
    }
}

// Weights whose rows are what is summed over: `slots` gates from `gate` on, each with `n` rows of
// `width`; the left operand has them vector by vector of units, `jump` items from one to the next.
struct Columns {
    const item *weights;
    const int *gate;
    int slots;
    long n, width, jump;
};

// sum += left * weights for the rows of some vectors of units, and for V vectors of columns, the
// last of which has `lanes`.
template <int R, int V>
static void columns_product(const Columns &of, const item *const *left, long first, long last,
                            long column, int lanes, real *const *to) {
    vec sum[R][V], right[V];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[r][v] = vec{};
    for (long u = first; u < last; u++)
        for (int s = 0; s < of.slots; s++) {
            const item *row = of.weights + (of.gate[s] * of.n + u * W) * of.width + column;
            int units = (int)std::min<long>(W, of.n - u * W);
            long at = u * of.jump + s * W;
            for (int i = 0; i < units; i += PAIR, row += PAIR * of.width) {
                const item *next = PAIR > 1 && i + 1 < units ? row + of.width : nullptr;
#pragma GCC unroll 4
                for (int v = 0; v < V; v++)
                    right[v] = words(row + v * W, next ? next + v * W : nullptr,
                                     v == V - 1 ? lanes : W);
#pragma GCC unroll 4
                for (int r = 0; r < R; r++) {
                    vec one[1] = {all_bits(left[r] + at + i, std::min(PAIR, units - i))};
                    add_whole<1, V>(sum + r, one, right);
                }
            }
        }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            real *place = to[r] + column + v * W;
            store(place, load(place) + sum[r][v]);
        }
}

template <int R>
static void columns_product(const Columns &of, const item *const *left, long first, long last,
                            long column, long vectors, int lanes, real *const *to) {
    switch (vectors) {
    case 1: return columns_product<R, 1>(of, left, first, last, column, lanes, to);
    case 2: return columns_product<R, 2>(of, left, first, last, column, lanes, to);
    case 3: return columns_product<R, 3>(of, left, first, last, column, lanes, to);
    default: return columns_product<R, 4>(of, left, first, last, column, lanes, to);
    }
}

// to[row] += left[row] * weights for `rows` rows, whose padding is written too, and the vectors of
// columns [v0, v1). The order of every sum is that of `chunk_product` over packed weights.
static void columns_product(const Columns &of, const item *const *left, long rows, long v0, long v1,
                            real *const *to) {
    if (of.slots == 0) return;
    long nv = (of.n + W - 1) / W, step = BLOCK_K / (of.slots * W / PAIR);
    for (long first = 0; first < nv; first += step)
        for (long v = v0; v < v1; v += 4) {
            long last = std::min(nv, first + step), vectors = std::min(4l, v1 - v);
            int lanes = (int)std::min<long>(W, of.width - (v + vectors - 1) * W);
            for (long r = 0; r < rows; r += 4)
                switch (rows - r) {
                case 1: columns_product<1>(of, left + r, first, last, v * W, vectors, lanes, to + r); break;
                case 2: columns_product<2>(of, left + r, first, last, v * W, vectors, lanes, to + r); break;
                case 3: columns_product<3>(of, left + r, first, last, v * W, vectors, lanes, to + r); break;
                default: columns_product<4>(of, left + r, first, last, v * W, vectors, lanes, to + r);
                }
        }
}
