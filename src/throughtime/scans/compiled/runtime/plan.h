// What one call brings, where its rows and buffers lie, and the weights in the order of the loops.
//
// Words. A *slot* is one affine map of a gate, n numbers wide. z holds the slots of every row, W
// units at a time side by side: z[row][vector of units][slot][lane]. A *product* multiplies one
// *operand* (a state at t-1, or a value that the equations made) with the weights of some slots.
// A *stage* is the pointwise piece that runs once the products of its number are there. A *row* is
// one sequence at one time step; rows are numbered in order of time, and the sequences are sorted
// so that those still running at t are the first alive[t].

#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "left.h"
#include "team.h"

constexpr int MOST = 16;  // states, operands, vectors or streams of a cell

// What the equations read at each step beside x, n numbers for each sequence: reals, or truths as
// bytes, which are 1 and 0. Strides are zero where all is the same.
struct Stream {
    const void *at;
    int64_t time, batch, unit, truths;
};

struct Call {
    int64_t T, B, n_x, n, threads;
    int64_t keep;            // z, states and operands of every row stay, for the backward
    const int64_t *lengths;  // [B] or null
    const uint8_t *reset;    // [T, B] or null
    const item *x;
    int64_t x_time, x_batch;  // strides
    const item *W_x, *W_a;
    const real *b;
    const real *vectors[MOST];
    const real *start[MOST];          // [B, n] the states before the first step
    const item *start_operand[MOST];  // the same, as operands of products
    Stream streams[MOST];
    item *y;                          // [T, B, n] the first state
    real *final[MOST];                // [B, n]
    real *z;                          // [rows, ...] where kept
    real *states[MOST];    // [rows, n] where kept, else [2 B, n]; unless rounded, the first is y
    item *operands[MOST];  // values: [rows, n] where kept, else [B, n]; rounded states: as states
    const item *dy;
    int64_t dy_time, dy_batch;
    const real *dfinal[MOST];
    item *dx;
    real *dW_x, *dW_a, *db;  // null where nobody asks
    real *dvectors[MOST];
    real *dstart[MOST];
    real *dstreams[MOST];  // [T, B, n], zeros at first
    const real *packed;    // the weights as `pack` made them; null: packed in this call
    real *scratch;
};

// Whether a product takes state k.
constexpr bool is_operand(int k) {
    bool any = false;
    for (int p = 0; p < Cell::PRODUCTS; p++) any |= Cell::products[p].operand == k;
    return any;
}

constexpr int S = Cell::SLOTS;
constexpr int DS = S + Cell::VECTORS;  // dz has a column for each vector's gradient too
constexpr bool ROUNDED = PAIR > 1;  // states are carried as reals, beside their rounded forms
constexpr long CACHED_WEIGHTS = 5 << 18;  // bytes that stay in a core's second cache
#ifndef PAUSE_WORK
#define PAUSE_WORK (1l << 30)
#endif
// Multiplications between two pauses, a third of a second where they are slow: in a pause Python
// hears Ctrl-C.
constexpr double PAUSE = PAUSE_WORK;
constexpr double SMALL_WORK = 1 << 20;  // multiplications of a member between two barriers
constexpr long LEAST_TILED = 4;   // rows, at least, for tiles to pay
constexpr long LEAST_PACKED = 64;  // rows of one step, at least, for tiles to pay for packing
constexpr long CHUNK_ROWS = 512;  // a chunk of time: z or dz of so many rows stay in the cache

struct Plan {
    const Call &c;
    long nv, xv;               // vectors of units, of inputs
    long ldz, lddz, ldn, ldx;  // numbers in a row of z, of dz, of padded units, of padded inputs
    long chunk_rows = 0;       // the most rows of a chunk
    std::vector<long> order;   // [B] the sequence at each sorted place
    std::vector<long> alive;   // [T + 1] sequences that still run at each step
    std::vector<long> offset;  // [T + 1] the first row of each step
    std::vector<std::pair<long, long>> chunks;  // steps [from, to)

    explicit Plan(const Call &call)
        : c(call), order(call.B), alive(call.T + 1), offset(call.T + 1) {
        for (long b = 0; b < c.B; b++) order[b] = b;
        if (c.lengths)
            std::stable_sort(order.begin(), order.end(),
                             [&](long a, long b) { return c.lengths[a] > c.lengths[b]; });
        for (long b = 0; b < c.B; b++)
            for (long t = 0; t < (c.lengths ? std::min(c.lengths[b], c.T) : c.T); t++) alive[t]++;
        nv = (c.n + W - 1) / W, xv = (c.n_x + W - 1) / W;
        ldz = nv * S * W, lddz = nv * DS * W, ldn = nv * W, ldx = xv * W;
        for (long t = 0; t < c.T; t++) offset[t + 1] = offset[t] + alive[t];
        for (long from = 0, to; from < c.T && alive[from]; from = to) {
            for (to = from + 1; to < c.T && alive[to];) {
                if (offset[to + 1] - offset[from] > CHUNK_ROWS) break;
                to++;
            }
            chunks.push_back({from, to});
            chunk_rows = std::max(chunk_rows, offset[to] - offset[from]);
        }
    }

    // Steps that have any sequence.
    long steps() const { return chunks.empty() ? 0 : chunks.back().second; }
    // After how many steps the next pause is, where `done` are done.
    long pause(long done, bool backward) const {
        double row = double(ldn) * S * (c.n + c.n_x + 64), work = 0;
        for (; done < steps() && work < PAUSE; done++)
            work += alive[backward ? steps() - 1 - done : done] * row;
        return done;
    }
    // Weights that are used once are not worth packing, unless tiles make up for it.
    bool in_place() const { return c.T == 1 && !c.packed && !(TILES && c.B >= LEAST_PACKED); }
    // The same backward. Pairs of weights are put together anew for every few rows, which many rows
    // do not pay for; the bits are those of packed weights.
    bool in_place_back() const {
        return in_place() && S * W / PAIR <= BLOCK_K && (PAIR == 1 || c.B <= 4);
    }
    // Vectors of a chunk of packed weights.
    int vectors() const { return c.packed ? STEP_V : MAX_V; }
    // Whether the products of a step, and those of many steps, are made by tiles. Never for one
    // member's rows: the bits would depend on the number of threads.
    bool tiled_steps() const { return TILES && c.B >= LEAST_TILED; }
    bool tiled_chunks() const { return TILES && offset[c.T] >= LEAST_TILED; }
    // As many threads as have a vector of units each, and enough to do between two barriers; for one
    // step, enough to be worth waking up.
    int threads() const {
        long least = c.T == 1 ? 65536 : 16384;
        return std::max(1l, std::min({(long)c.threads, nv, work() / least}));
    }
    // Multiplications of a step.
    long work() const { return c.B * c.n * S * (c.T == 1 ? (c.n + c.n_x) / 2 : c.n); }
    // A small recurrent matrix fits into every member's own cache: then each takes some of the
    // sequences, and nobody waits for anybody.
    bool by_rows(long size) const {
        long weights = 0;
        for (int p = 0; p < Cell::PRODUCTS; p++)
            weights += ldn * c.n * Cell::products[p].count * sizeof(real);
        return size > 1 && c.B >= 4 * size && weights <= CACHED_WEIGHTS;
    }
    // Whether a wait for another member may take longer than its work.
    bool small() const { return work() < c.threads * SMALL_WORK && !by_rows(threads()); }
    // Zero beyond the end of each sequence.
    void clear_padding(item *y, long width) const {
        for (long t = 0; t < c.T; t++)
            for (long b = alive[t]; b < c.B; b++)
                std::fill_n(y + (t * c.B + order[b]) * width, width, item(0));
    }
    int lanes(long unit_vector) const { return std::min<long>(W, c.n - unit_vector * W); }
    bool is_reset(long t, long b) const { return c.reset && c.reset[t * c.B + order[b]]; }
    const item *x_row(long t, long b) const { return c.x + t * c.x_time + order[b] * c.x_batch; }
    item *y_row(long t, long b) const { return c.y + (t * c.B + order[b]) * c.n; }
    // What the equations read beside x, for a vector of units.
    void streams(vec *q, long t, long b, long u, int lanes) const {
        for (int i = 0; i < Cell::STREAMS; i++) {
            const Stream &s = c.streams[i];
            long at = t * s.time + order[b] * s.batch + u * W * s.unit;
            if (s.truths) {
                const uint8_t *from = (const uint8_t *)s.at + at;
                q[i] = s.unit ? load_truths(from, lanes) : all(real(*from));
            } else {
                const real *from = (const real *)s.at + at;
                q[i] = s.unit ? load(from, lanes) : all(*from);
            }
        }
    }
    // Of a buffer that has a row for every row, or for two steps.
    long state_place(long t, long b) const {
        return (c.keep ? offset[t] + b : (t & 1) * c.B + b) * c.n;
    }
    real *state_row(int k, long t, long b) const {
        if (k == 0 && !ROUNDED) return (real *)y_row(t, b);
        return c.states[k] + state_place(t, b);
    }
    // State k before step t, for the pieces.
    const real *before(int k, long t, long b, const real *zeros) const {
        if (is_reset(t, b)) return zeros;
        return t ? state_row(k, t - 1, b) : c.start[k] + order[b] * c.n;
    }
    // The state as products take it.
    item *rounded_row(int k, long t, long b) const {
        if (k == 0) return y_row(t, b);
        return ROUNDED ? c.operands[k] + state_place(t, b) : (item *)state_row(k, t, b);
    }
    item *value_row(int operand, long t, long b) const {
        return c.operands[operand] + (c.keep ? offset[t] + b : b) * c.n;
    }
    const item *operand_row(int operand, long t, long b, const real *zeros) const {
        if (operand >= Cell::STATES) return value_row(operand, t, b);
        if (is_reset(t, b)) return (const item *)zeros;
        return t ? rounded_row(operand, t - 1, b) : c.start_operand[operand] + order[b] * c.n;
    }
};

// What one member of a team does in the time loop: all units of some of the sequences, or some of
// the units, where all wait for each other after every stage.
struct Share {
    const Plan &plan;
    Member m;
    bool by_rows;
    long unit0, unit1;  // vectors of units that it computes
    long pack0, pack1;  // and whose weights it packs
    long place0, stride;

    Share(const Plan &plan, Member m) : plan(plan), m(m) {
        const Call &c = plan.c;
        long V = plan.vectors(), groups = (plan.nv + V - 1) / V;
        by_rows = plan.by_rows(m.size);
        // What others packed is cut between its chunks.
        long whole0 = m.first(groups) * V, whole1 = std::min(m.last(groups) * V, plan.nv);
        unit0 = by_rows ? 0 : c.packed ? whole0 : m.first(plan.nv);
        unit1 = by_rows ? plan.nv : c.packed ? whole1 : m.last(plan.nv);
        pack0 = by_rows ? whole0 : unit0;
        pack1 = by_rows ? whole1 : unit1;
        place0 = by_rows ? m.id : 0, stride = by_rows ? m.size : 1;
    }
    // Of the sequences that run at t, how many are its own, and the place of the i-th.
    long count(long t) const {
        return plan.alive[t] > place0 ? (plan.alive[t] - place0 - 1) / stride + 1 : 0;
    }
    long place(long i) const { return place0 + i * stride; }
    // Of those, the ones whose whole rows are its own, where a piece reduces over all units.
    long whole0(long t) const { return by_rows ? 0 : m.first(count(t)); }
    long whole1(long t) const { return by_rows ? count(t) : m.last(count(t)); }
    // After a stage, where another member's part is read next.
    void wait() const {
        if (!by_rows) m.wait();
    }
};

// Hands out stretches of the scratch buffer; with none, only counts.
struct Arena {
    real *base;
    long used = 0;
    real *take(long count) {
        real *at = base ? base + used : nullptr;
        used += (count + W - 1) / W * W;
        return at;
    }
};

struct Packed {  // the units of one member, chunk by chunk: [chunk][k][vector][lane]
    real *at;
    long K;  // words
    real *chunk(long vector) const { return at + vector * K * W; }
};

// w[chunk][k][v][lane] = row[unit of v, lane][k]: weights whose rows belong to the result's units.
static void pack_rows(int most, real *to, const item *weights, long items, long n, long unit0,
                      long unit1, int slot0, int count) {
    long last = unit1 * count, K = packed_words(word_count(items));
    for (long f0 = unit0 * count; f0 < last; f0 += most) {
        int V = std::min<long>(most, last - f0);
        for (long k0 = 0; k0 < K * STORED; k0 += W)
            for (int v = 0; v < V; v++) {
                long unit = (f0 + v) / count * W;
                const item *from =
                    weights + (Cell::gate[slot0 + (f0 + v) % count] * n + unit) * items;
                long k1 = std::min(K * STORED, k0 + W), left = items - k0 * PAIR;
                vec block[W];
                for (int lane = 0; lane < W; lane++)
                    block[lane] = unit + lane < n
                                      ? load_words(from + lane * items + k0 * PAIR, left)
                                      : vec{};
                transpose(block);
                for (long k = k0; k < k1; k += STORED)
                    store(to + (k / STORED * V + v) * W, stored(block + (k - k0)));
            }
        to += K * V * W;
    }
}

// w[chunk][k][v][lane] = row[k][column of v, lane]: weights whose rows are what is summed over.
static void pack_columns(real *to, const item *weights, long width, long n, long nv, long vector0,
                         long vector1, int slot0, int count) {
    for (long f0 = vector0; f0 < vector1; f0 += MAX_V) {
        int V = std::min<long>(MAX_V, vector1 - f0);
        for (long unit_vector = 0; unit_vector < nv; unit_vector++)
            for (int slot = slot0; slot < slot0 + count; slot++)
                for (int lane = 0; lane < W; lane += PAIR, to += V * W) {
                    long unit = unit_vector * W + lane;
                    const item *from = weights + (Cell::gate[slot] * n + unit) * width;
                    const item *second = unit + 1 < n ? from + width : nullptr;
                    for (int v = 0; v < V; v++) {
                        long column = (f0 + v) * W;
                        int lanes = std::min<long>(W, width - column);
                        store(to + v * W, unit < n ? words(from + column,
                                                           second ? second + column : nullptr, lanes)
                                                   : vec{});
                    }
                }
        long K = word_count(nv * count * W), more = (packed_words(K) - K) * V * W;
        std::fill_n(to, more, real(0));
        to += more;
    }
}
