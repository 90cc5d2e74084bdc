// Rows of a left operand, and the products of all of them with one chunk of weights after another.

#pragma once

#include <memory>
#include <vector>

#include "products.h"
#include "tiles.h"

constexpr long TILED_WEIGHTS = 5 << 18;  // bytes that stay in the second cache beside all else

class LeftRows {
    Stretch k{};
    Rows c{};
    long rows = 0;
    bool tiled = false;

  public:
    std::vector<const item *> at;  // set before `take`

    // The next products are of the first `count` rows with `vectors` vectors of weights; by tiles
    // where the plan says so.
    void take(Stretch stretch, Rows sums, long count, long vectors, bool by_tiles) {
        k = stretch, c = sums, rows = count, tiled = by_tiles;
#if TILES
        if (tiled) take_tiles(vectors);
#endif
    }
    // Groups of rows that are multiplied with all weights before the next.
    long groups() const {
#if TILES
        if (tiled) return (blocks.size() + group - 1) / group;
#endif
        return 1;
    }
    // to[row] = from[row] + row * w for the rows of a group and the V vectors at `column`.
    void multiply(long number, int V, const real *w, const long *column) {
#if TILES
        if (tiled) return multiply_tiles(number, V, w, column);
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
    std::unique_ptr<vec[]> copies;
    long room = 0;  // of them
    long steps = 0;
    size_t group = 0;  // blocks

    // A few rows that lie as tiles ask for it stay where they are; else they are copied. Two blocks
    // go through all weights that stay in the cache; larger ones are read once for all rows.
    void take_tiles(long vectors) {
        steps = packed_words(k.outer * k.run) / TILE;
        bool cached = vectors * steps * TILE * W * (long)sizeof(real) <= TILED_WEIGHTS;
        group = cached ? 2 : (rows + TILE - 1) / TILE;
        bool few = rows <= 4 * TILE;
        bool dense = k.outer == 1 || k.jump == k.run;
        bool whole = !k.lone && k.outer * k.run == steps * TILE;
        long needed = (rows + TILE - 1) / TILE * steps * TILE;
        if (needed > room) copies.reset(new vec[room = needed]);
        blocks.clear();
        item *copied = (item *)copies.get();
        for (long first = 0; first < rows; first += TILE) {
            int count = std::min<long>(TILE, rows - first);
            long row = even_step(&at[first], count);
            Block block{{copied}, first, even_step(c.from + first, count),
                        even_step(c.to + first, count), count};
            bool aligned = ((uintptr_t)at[first] | row) % TILE_BYTES == 0;
            if (few && dense && whole && count == TILE && row > 0 && aligned)
                block.left = {at[first], row, TILE_BYTES};
            else
                copied = copy(copied, &at[first], count);
            blocks.push_back(block);
        }
    }
    // Tile after tile of sixteen rows, zeros where there is nothing; gives where the next begin.
    item *copy(item *to, const item *const *from, int count) const {
        if (k.outer == 1) return copy_even(to, from, count);
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
    // The same where a row lies in one piece.
    item *copy_even(item *to, const item *const *from, int count) const {
        long items = k.run * PAIR - k.lone, whole = items / TILE_ITEMS;
        for (int r = 0; r < TILE; r++) {
            item *place = to + r * TILE_ITEMS;
            long s = 0;
            for (; r < count && s < whole; s++, place += TILE * TILE_ITEMS)
                memcpy(place, from[r] + s * TILE_ITEMS, TILE_BYTES);
            for (; s < steps; s++, place += TILE * TILE_ITEMS) {
                memset(place, 0, TILE_BYTES);
                if (r < count && s == whole)
                    memcpy(place, from[r] + s * TILE_ITEMS, items % TILE_ITEMS * sizeof(item));
            }
        }
        return to + steps * TILE * TILE_ITEMS;
    }
    void multiply_tiles(long number, int V, const real *w, const long *column) const {
        size_t first = number * group, last = std::min(blocks.size(), first + group);
        for (int v = 0; v < V; v += 2)
            for (size_t b = first; b < last; b += 2)
                multiply_block(std::min<size_t>(2, last - b), std::min(2, V - v),
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
