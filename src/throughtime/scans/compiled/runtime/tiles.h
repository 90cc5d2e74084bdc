// Products of bfloat16 on tiles of 16 rows by 16 words, eight of them on each thread.
//
// Where TILES is 1 they are the processor's (AMX). Where it is 2 they stand in memory, with the same
// layout and the same order of sums: so the suite tests this path on every machine. One product of
// tiles adds to each sum the products of 16 words, those of the first items of all words and those
// of the second apart, and then both together.

#pragma once

#include <algorithm>

#include "items.h"

#if TILES

static_assert(W == 16 && PAIR == 2);
constexpr int TILE = 16;                 // rows of a tile, and words of a row
constexpr long TILE_BYTES = TILE * 4;    // of a row
constexpr long TILE_ITEMS = TILE * PAIR;  // and items

#if TILES == 1

// The calling thread's tiles, all of full size, as long as this lives. The state of tiles that are
// given back need not be saved when threads take turns.
struct TilesHere {
    TilesHere() {
        struct __attribute__((aligned(64))) {
            uint8_t palette = 1, first_row = 0, zeros[14] = {};
            uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } shape;
        asm volatile("ldtilecfg %0" ::"m"(shape));
    }
    ~TilesHere() { asm volatile("tilerelease"); }
    TilesHere(const TilesHere &) = delete;
};
// Rows lie `step` bytes apart.
template <int t> static inline void load_tile(const void *from, long step) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(step), "i"(t) : "memory");
}
template <int t> static inline void store_tile(void *to, long step) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(step), "i"(t) : "memory");
}
template <int sum, int left, int right> static inline void multiply_tiles() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
}

#else

struct TilesHere {
    TilesHere() {}
    ~TilesHere() {}
};
static thread_local vec tiles[8][TILE];

template <int t> static inline void load_tile(const void *from, long step) {
    for (int r = 0; r < TILE; r++) memcpy(&tiles[t][r], (const char *)from + r * step, TILE_BYTES);
}
template <int t> static inline void store_tile(void *to, long step) {
    for (int r = 0; r < TILE; r++) memcpy((char *)to + r * step, &tiles[t][r], TILE_BYTES);
}
template <int sum, int left, int right> static inline void multiply_tiles() {
    for (int r = 0; r < TILE; r++) {
        vec first = {}, second = {};
        for (int k = 0; k < TILE; k++) {
            mask a = mask{} + ((mask)tiles[left][r])[k], b = (mask)tiles[right][k];
            first = fused((vec)(a << 16), (vec)(b << 16), first);
            second = fused((vec)(a & ~0xffff), (vec)(b & ~0xffff), second);
        }
        tiles[sum][r] += first + second;
    }
}

#endif

// Sixteen rows of a left operand: bytes from row to row and from tile to tile.
struct LeftTiles {
    const item *at;
    long row = TILE_BYTES, next = TILE * TILE_BYTES;
};

// Where a tile of sums comes from and goes to; bytes from row to row.
struct SumTile {
    const real *from;
    long from_row;
    real *to;
    long to_row;
};

// R by V tiles of sums over `steps` tiles of the left operand and of w, whose words lie `w_row`
// bytes apart.
template <int R, int V>
static void tile_block(long steps, const LeftTiles *a, const real *w, long w_row, const SumTile *c) {
    const char *left0 = (const char *)a[0].at, *left1 = (const char *)a[R - 1].at;
    const char *right = (const char *)w;
    load_tile<0>(c[0].from, c[0].from_row);
    if constexpr (V > 1) load_tile<1>(c[1].from, c[1].from_row);
    if constexpr (R > 1) load_tile<2>(c[2].from, c[2].from_row);
    if constexpr (R > 1 && V > 1) load_tile<3>(c[3].from, c[3].from_row);
    for (long s = 0; s < steps; s++) {
        load_tile<6>(right, w_row);
        load_tile<4>(left0, a[0].row);
        multiply_tiles<0, 4, 6>();
        if constexpr (V > 1) {
            load_tile<7>(right + TILE_BYTES, w_row);
            multiply_tiles<1, 4, 7>();
        }
        if constexpr (R > 1) {
            load_tile<5>(left1, a[1].row);
            multiply_tiles<2, 5, 6>();
            if constexpr (V > 1) multiply_tiles<3, 5, 7>();
        }
        left0 += a[0].next, left1 += a[R - 1].next, right += TILE * w_row;
    }
    store_tile<0>(c[0].to, c[0].to_row);
    if constexpr (V > 1) store_tile<1>(c[1].to, c[1].to_row);
    if constexpr (R > 1) store_tile<2>(c[2].to, c[2].to_row);
    if constexpr (R > 1 && V > 1) store_tile<3>(c[3].to, c[3].to_row);
}
static void tile_block(int R, int V, long steps, const LeftTiles *a, const real *w, long w_row,
                       const SumTile *c) {
    if (R > 1)
        V > 1 ? tile_block<2, 2>(steps, a, w, w_row, c) : tile_block<2, 1>(steps, a, w, w_row, c);
    else
        V > 1 ? tile_block<1, 2>(steps, a, w, w_row, c) : tile_block<1, 1>(steps, a, w, w_row, c);
}

// A tile of sums that is not whole, or whose rows lie unevenly: brought together for a while.
struct Gathered {
    real sums[TILE * W] __attribute__((aligned(64)));

    SumTile take(const real *const *from, long column, int rows, int lanes) {
        for (int r = 0; r < TILE; r++)
            store(sums + r * W, r < rows ? load(from[r] + column, lanes) : vec{});
        return {sums, TILE_BYTES, sums, TILE_BYTES};
    }
    void give(real *const *to, long column, int rows, int lanes) const {
        for (int r = 0; r < rows; r++) store(to[r] + column, load(sums + r * W), lanes);
    }
};

// Bytes from row to row where `count` rows lie evenly, else -1.
template <class T> static long even_step(T *const *rows, int count) {
    long step = count > 1 ? (const char *)rows[1] - (const char *)rows[0] : 0;
    for (int r = 2; r < count; r++)
        if ((const char *)rows[r] - (const char *)rows[r - 1] != step) return -1;
    return std::max(step, -1l);
}

#endif
