// Rows of a left operand, and the products of all of them with one chunk of weights after another.

#pragma once

#include <vector>

#include "products.h"
#include "tiles.h"

class LeftRows {
    Stretch k{};
    Rows c{};
    long rows = 0;
    bool tiled = false;

  public:
    std::vector<const item *> at;  // set before `take`

    // The next products are of the first `count` rows; by tiles where the plan says so.
    void take(Stretch stretch, Rows sums, long count, bool by_tiles) {
        k = stretch, c = sums, rows = count, tiled = by_tiles;
#if TILES
        if (tiled) take_tiles();
#endif
    }
    // to[row] = from[row] + row * w for the V vectors at `column`.
    void multiply(int V, const real *w, const long *column) {
#if TILES
        if (tiled) return multiply_tiles(V, w, column);
#endif
        chunk_product(V, k, at.data(), w, c, column, rows);
    }

#if TILES
  private:
    struct Block {  // of sixteen rows
        LeftTiles left;
        long first, from_row, to_row;  // bytes, -1 where rows lie unevenly
        int rows;

        bool even() const { return rows == TILE && from_row >= 0 && to_row >= 0; }
    };
    std::vector<Block> blocks;
    std::vector<vec> copies;
    long steps = 0;

    // Where rows lie as tiles ask for it, they stay; else they are copied.
    void take_tiles() {
        steps = packed_words(k.outer * k.run) / TILE;
        bool dense = k.outer == 1 || k.jump == k.run;
        bool whole = !k.lone && k.outer * k.run == steps * TILE;
        copies.resize((rows + TILE - 1) / TILE * steps * TILE);
        blocks.clear();
        item *copied = (item *)copies.data();
        for (long first = 0; first < rows; first += TILE) {
            int count = std::min<long>(TILE, rows - first);
            long row = even_step(&at[first], count);
            Block block{{copied}, first, even_step(c.from + first, count),
                        even_step(c.to + first, count), count};
            bool aligned = ((uintptr_t)at[first] | row) % TILE_BYTES == 0;
            if (dense && whole && count == TILE && row > 0 && aligned)
                block.left = {at[first], row, TILE_BYTES};
            else
                copied = copy(copied, &at[first], count);
            blocks.push_back(block);
        }
    }
    // Tile after tile of sixteen rows, zeros where there is nothing; gives where the next begin.
    item *copy(item *to, const item *const *from, int count) const {
        auto place = [&](int r, long i) {
            return to + i / TILE_ITEMS * TILE * TILE_ITEMS + r * TILE_ITEMS + i % TILE_ITEMS;
        };
        for (int r = 0; r < TILE; r++) {
            long i = 0;
            for (long o = 0; r < count && o < k.outer; o++) {
                const item *row = from[r] + o * k.jump * PAIR;
                long left = k.run * PAIR - (k.lone && o == k.outer - 1);
                for (; left > 0; left -= W, row += W, i += W) {
                    if (left < W) memset(place(r, i), 0, W * sizeof(item));
                    memcpy(place(r, i), row, std::min<long>(left, W) * sizeof(item));
                }
            }
            for (; i < steps * TILE_ITEMS; i += W) memset(place(r, i), 0, W * sizeof(item));
        }
        return to + steps * TILE * TILE_ITEMS;
    }
    void multiply_tiles(int V, const real *w, const long *column) const {
        for (int v = 0; v < V; v += 2)
            for (size_t b = 0; b < blocks.size(); b += 2)
                multiply_block(std::min<size_t>(2, blocks.size() - b), std::min(2, V - v),
                               &blocks[b], w + v * W, V * W * sizeof(real), column + v);
    }
    void multiply_block(int R, int V, const Block *block, const real *w, long w_row,
                        const long *column) const {
        LeftTiles left[2];
        SumTile sums[4];
        Gathered gathered[4];
        for (int r = 0; r < R; r++) {
            const Block &b = block[r];
            left[r] = b.left;
            for (int v = 0; v < V; v++)
                sums[2 * r + v] = b.even() ? SumTile{c.from[b.first] + column[v], b.from_row,
                                                     c.to[b.first] + column[v], b.to_row}
                                           : gathered[2 * r + v].take(c.from + b.first, column[v],
                                                                      b.rows, W);
        }
        tile_block(R, V, steps, left, w, w_row, sums);
        for (int r = 0; r < R; r++)
            for (int v = 0; v < V && !block[r].even(); v++)
                gathered[2 * r + v].give(c.to + block[r].first, column[v], block[r].rows, W);
    }
#endif
};
