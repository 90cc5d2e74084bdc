// The sums over rows in dW: blocks of rows of dz and of an operand, packed, by small tiles.
//
// packed operand[panel][k][GRAD_V][lane]; packed dz of a vector of units in one slot: [tile][k][GR],
// or, where the processor's tiles multiply, [k][unit][word of k].

#pragma once

#include "plan.h"
#include "tiles.h"

constexpr long BLOCK_ROWS = TILES ? 512 : 256;  // rows summed at a time in dW
constexpr long BLOCK_WORDS = BLOCK_ROWS / PAIR;
constexpr int GR = least(GRAD_R, W);
constexpr int GRAD_UNITS = TILES ? 2 : 1;  // vectors of units at a time

constexpr int X = Cell::PRODUCTS;  // where x stands among the operands
constexpr int SHARED_V = TILES ? MAX_V : 1;  // vectors of inputs that one packs and others read
// Products that take the same operand share its packed rows.
constexpr int first_with_operand(int p) {
    int first = 0;
    while (Cell::products[first].operand != Cell::products[p].operand) first++;
    return first;
}

// Whether nothing was added to the rows of gate g before product p's slot s; x's product is X.
constexpr bool sums_begin(int p, int s) {
    int first = p == X ? 0 : Cell::products[p].slot;
    bool begins = !TILES;  // which add to what is there
    for (int other = first; other < s; other++) begins &= Cell::gate[other] != Cell::gate[s];
    for (int q = 0; q < p && p != X; q++)
        for (int other = 0; other < Cell::products[q].count; other++)
            begins &= Cell::gate[Cell::products[q].slot + other] != Cell::gate[s];
    return begins;
}
// Whether the rows of gate g are written by x's product, or by any other.
constexpr bool is_written(bool by_x, int g) {
    bool any = false;
    for (int s = 0; s < Cell::INPUTS && by_x; s++) any |= Cell::gate[s] == g;
    for (int p = 0; p < Cell::PRODUCTS && !by_x; p++)
        for (int s = 0; s < Cell::products[p].count; s++)
            any |= Cell::gate[Cell::products[p].slot + s] == g;
    return any && !TILES;
}

// Whether a stage from `first` on gives column i of dz a part.
constexpr bool touched(int i, int first = 0) {
    bool any = false;
    for (int s = first; s <= Cell::STAGES; s++) any |= Cell::touches[s] >> i & 1;
    return any;
}

// Zero in the rows of some vectors of units of a gate, whose `n` rows begin at `row`.
static void clear_rows(real *sums, long row, long n, long unit0, long unit1, long width) {
    long first = std::min(unit0 * W, n), last = std::min(unit1 * W, n);
    if (sums) std::fill_n(sums + (row + first) * width, (last - first) * width, real(0));
}

// Reals as items.
static void copy_row(const real *from, long width, item *to) {
    for (long i = 0; i < width; i += W) {
        int lanes = std::min<long>(W, width - i);
        store(to + i, load(from + i, lanes), lanes);
    }
}

// A vector of units in one slot: of them, `units` exist; where their rows of dW begin.
struct UnitRows {
    const real *dz;
    long units;
    real *sums;
    bool begins;  // nothing was added yet: what stands there is not read
};
// A panel of an operand: V vectors of columns, `column` the first, in rows of `width` numbers.
struct Panel {
    long K;  // words
    int V;
    const real *words;
    long column, width;
};

// Panels [first, last) of `count` rows.
static void pack_panels(real *packed, const item *const *row, long count, long width, long first,
                        long last) {
    long K = packed_words(word_count(count)), vectors = (width + W - 1) / W;
    for (long i = first; i < last; i++) {
        int V = std::min<long>(GRAD_V, vectors - i * GRAD_V);
        real *to = packed + i * GRAD_V * W * K;
        for (long k = 0; k < count; k += PAIR)
            for (int v = 0; v < V; v++, to += W) {
                long column = (i * GRAD_V + v) * W;
                const item *second = k + 1 < count ? row[k + 1] + column : nullptr;
                store(to, words(row[k] + column, second, std::min<long>(W, width - column)));
            }
        std::fill_n(to, (K - word_count(count)) * V * W, real(0));
    }
}

#if TILES

// W columns of `count` rows of dz, from `column` on; gives where the next go.
static real *pack_units(real *to, const item *const *rows, long count, long column,
                        const item *zeros) {
    for (long first = 0; first < count; first += TILE_ITEMS) {
        vec block[W];
        for (int k = 0; k < W; k++) {
            long row = first + k * PAIR;
            block[k] = words(row < count ? rows[row] + column : zeros,
                             row + 1 < count ? rows[row + 1] + column : nullptr, W);
        }
        transpose(block);
        for (int r = 0; r < W; r++, to += W) store(to, block[r]);
    }
    return to;
}

// dW += dz * operand, for `count` vectors of units.
static void add_gradients(const UnitRows *of, int count, Panel p, real *) {
    LeftTiles left[2];
    SumTile sums[4];
    Gathered gathered[4];
    real *row[2][W];
    long step = p.width * sizeof(real);
    auto lanes = [&](int v) { return std::min<long>(W, p.width - p.column - v * W); };
    auto whole = [&](int r, int v) { return of[r].units == W && lanes(v) == W; };
    for (int r = 0; r < count; r++) {
        left[r].at = (const item *)of[r].dz;
        for (int i = 0; i < of[r].units; i++) row[r][i] = of[r].sums + i * p.width + p.column;
        for (int v = 0; v < p.V; v++)
            sums[2 * r + v] =
                whole(r, v) ? SumTile{row[r][0] + v * W, step, row[r][0] + v * W, step}
                            : gathered[2 * r + v].take(row[r], v * W, of[r].units, lanes(v));
    }
    tile_block(count, p.V, p.K / TILE, left, p.words, p.V * W * sizeof(real), sums);
    for (int r = 0; r < count; r++)
        for (int v = 0; v < p.V; v++)
            if (!whole(r, v)) gathered[2 * r + v].give(row[r], v * W, of[r].units, lanes(v));
}

#else

static void interleave(item *to, const item *first, const item *second) {
    for (int r = 0; r < GR; r++) to[PAIR * r] = first[r], to[PAIR * r + PAIR - 1] = second[r];
}

static real *pack_units(real *to, const item *const *rows, long count, long column,
                        const item *zeros) {
    for (int tile = 0; tile < W / GR; tile++)
        for (long k = 0; k < count; k += PAIR, to += GR) {
            long at = column + tile * GR;
            if constexpr (PAIR == 1)
                memcpy(to, rows[k] + at, GR * sizeof(item));
            else
                interleave((item *)to, rows[k] + at, k + 1 < count ? rows[k + 1] + at : zeros);
        }
    return to;
}

// c[r][v] += sum over k of a[k][r] * w[k][v], both packed; k counts words.
template <int V>
static void gradient_tile(long K, const real *a, const real *w, real *const *c, long column,
                          bool begins) {
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
            store(to, begins ? sum[r][v] : load(to) + sum[r][v]);
        }
}

static void gradient_tile(int V, long K, const real *a, const real *w, real *const *c, long column,
                          bool begins) {
    switch (V) {
    case 1: return gradient_tile<1>(K, a, w, c, column, begins);
    case 2: return gradient_tile<2>(K, a, w, c, column, begins);
    case 3: return gradient_tile<3>(K, a, w, c, column, begins);
    default: return gradient_tile<4>(K, a, w, c, column, begins);
    }
}

// The tile at the right edge, where fewer than V whole vectors are left.
static void gradient_edge(int V, long K, const real *a, const real *w, real *const *to,
                          long column, long width, bool begins) {
    vec sums[GR][GRAD_V];
    real *row[GR];
    for (int r = 0; r < GR; r++) row[r] = (real *)sums[r];
    gradient_tile(V, K, a, w, row, 0, true);
    for (int r = 0; r < GR; r++)
        for (long i = 0; i < width; i += W) {
            real *place = to[r] + column + i;
            int lanes = (int)std::min<long>(W, width - i);
            vec sum = sums[r][i / W];
            store(place, begins ? sum : load(place, lanes) + sum, lanes);
        }
}

static void add_gradients(const UnitRows *of, int, Panel p, real *nowhere) {
    bool whole = p.column + p.V * W <= p.width;
    const real *a = of->dz;
    for (int tile = 0; tile < W / GR; tile++, a += GR * p.K) {
        real *row[GR];
        for (int r = 0; r < GR; r++)
            row[r] = tile * GR + r < of->units ? of->sums + (tile * GR + r) * p.width : nowhere;
        whole ? gradient_tile(p.V, p.K, a, p.words, row, p.column, of->begins)
              : gradient_edge(p.V, p.K, a, p.words, row, p.column, p.width - p.column, of->begins);
    }
}

#endif
