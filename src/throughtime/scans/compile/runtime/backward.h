// Backward: from the last step to the first, dz of a chunk of time, then dx and dW of that chunk.
//
// `carry` is the gradient by the states, at first of step t, after its pieces of step t-1. The
// products with dz that need no order in time, dx = dz W_x, dW = sum of dz [v, x], follow chunk by
// chunk, while dz is at hand.

#pragma once

#include "plan.h"

constexpr long BLOCK_ROWS = 128;  // rows summed at a time in dW
constexpr int GR = least(GRAD_R, W);

// c[r][v] += sum over k of a[k][r] * w[k][v], both packed.
template <int V>
static void gradient_tile(long K, const real *a, const real *w, real *const *c, long column) {
    vec sum[GR][V];
#pragma GCC unroll 8
    for (int r = 0; r < GR; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[r][v] = load(c[r] + column + v * W);
    for (long k = 0; k < K; k++, a += GR, w += V * W) {
        vec right[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) right[v] = *(const vec *)(w + v * W);
#pragma GCC unroll 8
        for (int r = 0; r < GR; r++) {
            vec left = all(a[r]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sum[r][v] += left * right[v];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < GR; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(c[r] + column + v * W, sum[r][v]);
}

static void gradient_tile(int V, long K, const real *a, const real *w, real *const *c, long column) {
    switch (V) {
    case 1: return gradient_tile<1>(K, a, w, c, column);
    case 2: return gradient_tile<2>(K, a, w, c, column);
    case 3: return gradient_tile<3>(K, a, w, c, column);
    default: return gradient_tile<4>(K, a, w, c, column);
    }
}

struct Backward {
    const Plan plan;
    real *zeros, *dz, *input, *product[Cell::PRODUCTS + 1];
    real *carry[Cell::STATES], *dvalue[MOST], *db, *dvector, *dx;
    real *packed_left, *packed_right;            // one block of rows of dz and of what it meets
    real *dW_x, *dW_a, *nowhere;                 // padded sums, where the widths are odd
    long scratch;

    explicit Backward(const Call &c) : plan(c) {
        Arena arena{c.scratch};
        zeros = arena.take(std::max(c.n, c.n_x) + W);
        dz = arena.take(plan.chunk_rows * plan.ldz);
        input = c.dx ? arena.take(plan.ldn * Cell::INPUTS * plan.ldx) : nullptr;
        dx = c.dx ? arena.take(plan.chunk_rows * plan.ldx) : nullptr;
        for (int p = 0; p < Cell::PRODUCTS; p++)
            product[p] = arena.take(plan.ldn * Cell::products[p].count * plan.ldn);
        for (int k = 0; k < Cell::STATES; k++) carry[k] = arena.take(c.B * plan.ldn);
        for (int j = Cell::STATES; j < Cell::OPERANDS; j++) dvalue[j] = arena.take(c.B * plan.ldn);
        db = arena.take(plan.ldn * S);
        dvector = arena.take(plan.ldn * (Cell::VECTORS + 1));
        packed_left = arena.take(BLOCK_ROWS * plan.ldz);
        packed_right = arena.take(BLOCK_ROWS * std::max(plan.ldn, plan.ldx));
        nowhere = arena.take(std::max(plan.ldn, plan.ldx));
        dW_x = c.dW_x && plan.ldx != c.n_x ? arena.take(Cell::GATES * c.n * plan.ldx) : nullptr;
        dW_a = c.dW_a && plan.ldn != c.n ? arena.take(Cell::GATES * c.n * plan.ldn) : nullptr;
        scratch = arena.used;
    }

    void run() {
        const Call &c = plan.c;
        std::fill(zeros, zeros + std::max(c.n, c.n_x) + W, real(0));
        if (c.dx) plan.clear_padding(c.dx, c.n_x);
        together(plan.threads(), [this](Member m) { Part(*this, m).run(); });
    }

    struct Part {
        const Backward &f;
        const Plan &plan;
        const Call &c;
        Member m;
        long unit0, unit1, column0, column1;  // own vectors of units, of inputs
        std::vector<const real *> left, rows;
        std::vector<real *> right;

        Part(const Backward &f, Member m)
            : f(f), plan(f.plan), c(f.plan.c), m(m), unit0(m.first(plan.nv)),
              unit1(m.last(plan.nv)), column0(m.first(plan.xv)), column1(m.last(plan.xv)),
              left(std::max(plan.chunk_rows, c.B)), rows(left.size()), right(left.size()) {}

        void run() {
            prepare();
            for (long i = plan.chunks.size() - 1; i >= 0; i--) {
                auto [from, to] = plan.chunks[i];
                for (long t = to - 1; t >= from; t--) step(t, from);
                if constexpr (Cell::RUNS_0) m.wait();  // its dz came after the last products
                if (c.dx) input_gradient(from, to);
                weight_gradients(from, to);
            }
            finish();
        }

        real *dz_row(long t, long b, long from) const {
            return f.dz + (plan.offset[t] - plan.offset[from] + b) * plan.ldz;
        }
        Packed mine(int p) const {
            long K = plan.ldn * Cell::products[p].count;
            return {f.product[p] + unit0 * W * K, K};
        }
        // The own units of rows of padded width.
        void clear(real *rows_of_units, long count) const {
            for (long r = 0; r < count; r++)
                std::fill_n(rows_of_units + r * plan.ldn + unit0 * W, (unit1 - unit0) * W, real(0));
        }

        void prepare() {
            for (int p = 0; p < Cell::PRODUCTS; p++) {
                Product q = Cell::products[p];
                pack_columns(mine(p).at, c.W_a, c.n, c.n, plan.nv, unit0, unit1, q.slot, q.count);
            }
            long K = plan.ldn * Cell::INPUTS;
            if (c.dx)
                pack_columns(f.input + column0 * W * K, c.W_x, c.n_x, c.n, plan.nv, column0,
                             column1, 0, Cell::INPUTS);
            for (int k = 0; k < Cell::STATES; k++) clear(f.carry[k], c.B);
            clear(f.db, S);
            clear(f.dvector, Cell::VECTORS);
            for (int g = 0; g < Cell::GATES; g++) {
                clear_rows(c.dW_x, f.dW_x, g, c.n_x, plan.ldx);
                clear_rows(c.dW_a, f.dW_a, g, c.n, plan.ldn);
            }
        }
        // Zero in the rows of gate g that belong to own units, in the sums or their padded copy.
        void clear_rows(real *sums, real *padded, int g, long width, long padded_width) const {
            if (!sums) return;
            real *at = padded ? padded : sums;
            long ld = padded ? padded_width : width, first = g * c.n + unit0 * W;
            long count = std::min(unit1 * W, c.n) - std::min(unit0 * W, c.n);
            std::fill_n(at + first * ld, count * ld, real(0));
        }

        void step(long t, long from) {
            for (long b = 0; b < plan.alive[t]; b++) right[b] = dz_row(t, b, from);
            pieces<Cell::STAGES>(t);
            stages<Cell::STAGES>(t);
            for (long b = 0; b < plan.alive[t]; b++)
                if (plan.is_reset(t, b))
                    for (int k = 0; k < Cell::STATES; k++) clear(f.carry[k] + b * plan.ldn, 1);
        }

        // After the pieces of stage s: its products, then the pieces of the stage before.
        template <int s> void stages(long t) {
            m.wait();
            if constexpr (s > 0) {
                for (int p = 0; p < Cell::PRODUCTS; p++)
                    if (Cell::products[p].stage == s) multiply(t, p);
                if constexpr (s > 1 || Cell::RUNS_0) {
                    pieces<s - 1>(t);
                    if constexpr (s > 1) stages<s - 1>(t);
                }
            }
        }

        // Gradient of the operand += dz W_a, for the own units.
        void multiply(long t, int p) {
            Product q = Cell::products[p];
            real *to = q.operand < Cell::STATES ? f.carry[q.operand] : f.dvalue[q.operand];
            std::vector<real *> &sums = targets;
            for (long b = 0; b < plan.alive[t]; b++) {
                sums[b] = to + b * plan.ldn;
                left[b] = right[b] + q.slot * W;
            }
            columns(unit0, unit1, mine(p), {plan.nv, q.count * W, S * W}, sums, plan.alive[t]);
        }
        void columns(long first, long last, Packed w, Stretch k, std::vector<real *> &sums,
                     long count) {
            long column[MAX_V];
            for (long i = first; i < last; i += MAX_V) {
                int V = std::min<long>(MAX_V, last - i);
                for (int v = 0; v < V; v++) column[v] = (i + v) * W;
                chunk_product(V, k, left.data(), 0, w.chunk(i - first), sums.data(), column, count);
            }
        }
        std::vector<real *> targets = std::vector<real *>(left.size());

        template <int s> void pieces(long t) {
            for (long u = unit0; u < unit1; u++)
                plan.lanes(u) == W ? pieces_of<s>(t, u, W) : pieces_of<s>(t, u, plan.lanes(u));
        }
        template <int s>
        inline __attribute__((always_inline)) void pieces_of(long t, long u, int lanes) {
            vec p[Cell::VECTORS + 1], dp[Cell::VECTORS + 1] = {}, sum[S] = {};
            for (int i = 0; i < Cell::VECTORS; i++) p[i] = load(c.vectors[i] + u * W, lanes);
            for (long b = 0; b < plan.alive[t]; b++) piece<s>(t, b, u, lanes, p, dp, sum);
            for (int i = 0; i < Cell::VECTORS; i++) {
                real *to = f.dvector + i * plan.ldn + u * W;
                store(to, load(to) + dp[i]);
            }
            for (int i = 0; i < Cell::INPUTS; i++) {
                real *to = f.db + i * plan.ldn + u * W;
                store(to, load(to) + sum[i]);
            }
        }

        template <int s>
        inline __attribute__((always_inline)) void piece(long t, long b, long u, int lanes,
                                                         const vec *p, vec *dp, vec *sum) {
            constexpr bool LAST = s == Cell::STAGES;
            vec z[S], state[Cell::STATES], dstate[Cell::STATES] = {}, dz[S] = {};
            vec dbefore[Cell::STATES] = {}, dvalue[Cell::OPERANDS + 1] = {};
            const real *zs = c.z + (plan.offset[t] + b) * plan.ldz + u * S * W;
            for (int i = 0; i < S; i++) z[i] = load(zs + i * W);
            for (int k = 0; k < Cell::STATES; k++) {
                state[k] = load(plan.before(k, t, b, f.zeros) + u * W, lanes);
                if (!LAST) continue;
                dstate[k] = load(f.carry[k] + b * plan.ldn + u * W);
                if (b >= plan.alive[t + 1] && c.dfinal[k])
                    dstate[k] += load(c.dfinal[k] + plan.order[b] * c.n + u * W, lanes);
            }
            if (LAST && c.dy)
                dstate[0] += load(c.dy + t * c.dy_time + plan.order[b] * c.dy_batch + u * W, lanes);
            for (int j = Cell::STATES; j < Cell::OPERANDS; j++)
                if (Cell::made[j] == s) dvalue[j] = load(f.dvalue[j] + b * plan.ldn + u * W);
            Cell::template backward<s>(z, state, p, dvalue, dstate, dz, dbefore, dp);
            for (int i = 0; i < S; i++) {
                if (!(Cell::touches[s] >> i & 1)) continue;
                if (lanes < W)  // beyond the last unit nothing is defined
                    for (int lane = lanes; lane < W; lane++) dz[i][lane] = 0;
                real *to = right[b] + (u * S + i) * W;
                bool touched = false;
                for (int later = s + 1; later <= Cell::STAGES; later++)
                    touched |= Cell::touches[later] >> i & 1;
                store(to, touched ? load(to) + dz[i] : dz[i]);
                sum[i] += dz[i];
            }
            for (int k = 0; k < Cell::STATES; k++) {
                real *to = f.carry[k] + b * plan.ldn + u * W;
                if (lanes < W)
                    for (int lane = lanes; lane < W; lane++) dbefore[k][lane] = 0;
                store(to, LAST ? dbefore[k] : load(to) + dbefore[k]);
            }
            if (LAST)  // sums of the products of this step begin at zero
                for (int j = Cell::STATES; j < Cell::OPERANDS; j++)
                    store(f.dvalue[j] + b * plan.ldn + u * W, vec{});
        }

        // dx = dz W_x (+ the gradient of an x that the equations read), for own columns.
        void input_gradient(long from, long to) {
            long count = 0, first = column0 * W, width = std::min(column1 * W, c.n_x) - first;
            for (long t = from; t < to; t++)
                for (long b = 0; b < plan.alive[t]; b++, count++) {
                    left[count] = dz_row(t, b, from);
                    targets[count] = f.dx + count * plan.ldx;
                    for (long u = column0; u < column1; u++)
                        store(targets[count] + u * W,
                              Cell::DIRECT < 0 ? vec{}
                                               : load(left[count] + (u * S + Cell::DIRECT) * W));
                }
            long K = plan.ldn * Cell::INPUTS;
            columns(column0, column1, {f.input + column0 * W * K, K},
                    {plan.nv, Cell::INPUTS * W, S * W}, targets, count);
            if (width <= 0) return;
            for (long t = from, r = 0; t < to; t++)
                for (long b = 0; b < plan.alive[t]; b++, r++)
                    std::copy_n(targets[r] + first, width,
                                c.dx + (t * c.B + plan.order[b]) * c.n_x + first);
        }

        // dW_x += dz x and dW_a += dz v for the rows of a chunk, some at a time.
        void weight_gradients(long from, long to) {
            if (c.dW_x)
                weight_gradient(from, to, 0, Cell::INPUTS, -1, f.dW_x ? f.dW_x : c.dW_x, c.n_x,
                                f.dW_x ? plan.ldx : c.n_x);
            if (c.dW_a)
                for (const Product &q : Cell::products)
                    weight_gradient(from, to, q.slot, q.count, q.operand, f.dW_a ? f.dW_a : c.dW_a,
                                    c.n, f.dW_a ? plan.ldn : c.n);
            m.wait();  // dz is free for the next chunk
        }
        void weight_gradient(long from, long to, int slot, int count, int operand, real *sums,
                             long width, long ld) {
            long size = 0;
            for (long t = from; t < to; t++)
                for (long b = 0; b < plan.alive[t]; b++, size++) {
                    left[size] = dz_row(t, b, from);
                    rows[size] = operand < 0 ? plan.x_row(t, b)
                                             : plan.operand_row(operand, t, b, f.zeros);
                }
            for (long k = 0; k < size; k += BLOCK_ROWS) {
                long K = std::min(BLOCK_ROWS, size - k);
                m.wait();  // the block before is used up
                pack_rows_of(rows.data() + k, K, width);
                pack_dz(left.data() + k, K, slot, count);
                m.wait();
                gradient_block(K, slot, count, sums, width, ld);
            }
        }
        // packed_right[panel][k][GRAD_V][lane], the panels shared out among the members.
        void pack_rows_of(const real *const *from, long K, long width) {
            long vectors = (width + W - 1) / W, panels = (vectors + GRAD_V - 1) / GRAD_V;
            for (long i = m.first(panels); i < m.last(panels); i++) {
                int V = std::min<long>(GRAD_V, vectors - i * GRAD_V);
                real *to = f.packed_right + i * GRAD_V * W * K;
                for (long k = 0; k < K; k++)
                    for (int v = 0; v < V; v++, to += W) {
                        long column = (i * GRAD_V + v) * W;
                        store(to, load(from[k] + column, std::min<long>(W, width - column)));
                    }
            }
        }
        // packed_left[tile][k][GR]: own units, slot by slot.
        void pack_dz(const real *const *from, long K, int slot, int count) {
            real *to = f.packed_left + unit0 * S * W * BLOCK_ROWS;
            for (long u = unit0; u < unit1; u++)
                for (int s = slot; s < slot + count; s++)
                    for (int tile = 0; tile < W / GR; tile++)
                        for (long k = 0; k < K; k++, to += GR)
                            memcpy(to, from[k] + (u * S + s) * W + tile * GR, GR * sizeof(real));
        }
        void gradient_block(long K, int slot, int count, real *sums, long width, long ld) {
            long vectors = (width + W - 1) / W;
            for (long i = 0; i < vectors; i += GRAD_V) {
                int V = std::min<long>(GRAD_V, vectors - i);
                const real *a = f.packed_left + unit0 * S * W * BLOCK_ROWS;
                for (long u = unit0; u < unit1; u++)
                    for (int s = slot; s < slot + count; s++)
                        for (int tile = 0; tile < W / GR; tile++, a += GR * K) {
                            real *row[GR];
                            for (int r = 0; r < GR; r++) {
                                long unit = u * W + tile * GR + r;
                                row[r] = unit < c.n ? sums + (Cell::gate[s] * c.n + unit) * ld
                                                    : f.nowhere;
                            }
                            gradient_tile(V, K, a, f.packed_right + i * W * K, row, i * W);
                        }
            }
        }

        // What was summed in other places goes to where it was asked for.
        void finish() {
            long first = unit0 * W, last = std::min(unit1 * W, c.n);
            for (long b = 0; b < c.B; b++)
                for (int k = 0; k < Cell::STATES; k++) {
                    real *to = c.dstart[k];
                    if (!to || first >= last) continue;
                    const real *from = f.carry[k] + b * plan.ldn + first;
                    if (b >= plan.alive[0])
                        from = c.dfinal[k] ? c.dfinal[k] + plan.order[b] * c.n + first : f.zeros;
                    std::copy_n(from, last - first, to + plan.order[b] * c.n + first);
                }
            if (first >= last) return;
            for (int i = 0; i < Cell::VECTORS; i++)
                if (c.dvectors[i])
                    std::copy_n(f.dvector + i * plan.ldn + first, last - first,
                                c.dvectors[i] + first);
            if (c.db) {
                for (int g = 0; g < Cell::GATES; g++)
                    std::fill_n(c.db + g * c.n + first, last - first, real(0));
                for (int s = 0; s < Cell::INPUTS; s++)
                    std::copy_n(f.db + s * plan.ldn + first, last - first,
                                c.db + Cell::gate[s] * c.n + first);
            }
            for (int g = 0; g < Cell::GATES; g++)
                for (long i = g * c.n + first; i < g * c.n + last; i++) {
                    if (f.dW_x) std::copy_n(f.dW_x + i * plan.ldx, c.n_x, c.dW_x + i * c.n_x);
                    if (f.dW_a) std::copy_n(f.dW_a + i * plan.ldn, c.n, c.dW_a + i * c.n);
                }
        }
    };
};
