// Backward: from the last step to the first, dz of a chunk of time, then dx and dW of that chunk.
//
// `carry` is the gradient by the states, at first of step t, after its pieces of step t-1. Products
// with dz that need no order in time, dx = dz W_x, dW = sum of dz [v, x], follow chunk by chunk.

#pragma once

#include "gradients.h"
#include "in_place.h"
#include "plan.h"

#define REDUCES_BACK(s) (Cell::backward_phases[s] > 1)

struct Backward {
    const Plan plan;
    real *zeros, *input, *product[Cell::PRODUCTS + 1];
    item *dz;
    real *carry[Cell::STATES], *dvalue[MOST], *db, *dvector, *dx;
    real *packed_dz, *packed[Cell::PRODUCTS + 1];  // one block of rows of dz, of operands, of x
    real *kept, *nowhere;                        // where the sums of padding go
    long scratch;

    explicit Backward(const Call &c) : plan(c) {
        Arena arena{c.scratch};
        zeros = arena.take(std::max(c.n, c.n_x) + W);
        dz = (item *)arena.take(plan.chunk_rows * plan.lddz / PAIR);
        bool packs = !plan.in_place_back();
        input = c.dx && packs ? arena.take(depth(Cell::INPUTS) * plan.ldx) : nullptr;
        dx = c.dx ? arena.take(plan.chunk_rows * plan.ldx) : nullptr;
        for (int p = 0; p < Cell::PRODUCTS; p++)
            product[p] = packs ? arena.take(depth(Cell::products[p].count) * plan.ldn) : nullptr;
        for (int k = 0; k < Cell::STATES; k++) carry[k] = arena.take(c.B * plan.ldn);
        for (int j = Cell::STATES; j < Cell::OPERANDS; j++) dvalue[j] = arena.take(c.B * plan.ldn);
        db = arena.take(plan.ldn * S);
        dvector = arena.take(plan.ldn * (Cell::VECTORS + 1));
        packed_dz = arena.take(BLOCK_WORDS * plan.ldz);
        for (int p = 0; p < Cell::PRODUCTS; p++)
            packed[p] = first_with_operand(p) == p ? arena.take(BLOCK_WORDS * plan.ldn)
                                                   : packed[first_with_operand(p)];
        packed[X] = arena.take(BLOCK_WORDS * plan.ldx);
        nowhere = arena.take(std::max(plan.ldn, plan.ldx));
        kept = arena.take(plan.threads() * plan.ldn * Cell::backward_kept);
        scratch = arena.used;
    }

    // Of packed weights, along the sum over `count` slots.
    long depth(int count) const { return packed_words(plan.ldn * count / PAIR); }

    // As `Forward::run`; steps are counted from the end.
    long run(long first) {
        const Call &c = plan.c;
        long last = plan.pause(first, true);
        if (first == 0) {
            std::fill(zeros, zeros + std::max(c.n, c.n_x) + W, real(0));
            if (c.dx) plan.clear_padding(c.dx, c.n_x);
        }
        together(plan.threads(), plan.small(), [=](Member m) { Part(*this, m).run(first, last); });
        return last < plan.steps() ? last : -1;
    }

    struct Part {
        const Backward &f;
        const Plan &plan;
        const Call &c;
        Member m;
        Share mine;
        long unit0, unit1, column0, column1;  // own vectors of units in dW, of inputs in dx
        LeftRows left;                   // rows of dz, in products
        std::vector<const item *> rows;  // of an operand
        std::vector<item *> right, results;  // rows of dz, of dx
        std::vector<real *> targets;
        real *kept;  // of the row at hand, from phase to phase

        Part(const Backward &f, Member m)
            : f(f), plan(f.plan), c(f.plan.c), m(m), mine(plan, m), unit0(m.first(plan.nv)),
              unit1(m.last(plan.nv)),
              column0(m.first((plan.xv + SHARED_V - 1) / SHARED_V) * SHARED_V),
              column1(std::min(m.last((plan.xv + SHARED_V - 1) / SHARED_V) * SHARED_V, plan.xv)),
              rows(std::max(plan.chunk_rows, c.B)), right(rows.size()), results(rows.size()),
              targets(rows.size()), kept(f.kept + m.id * plan.ldn * Cell::backward_kept) {
            left.at.resize(rows.size());
        }

        void run(long first, long last) {
            long T = plan.steps();
            if (first == 0) prepare();
            for (long i = plan.chunks.size() - 1; i >= 0; i--) {
                auto [from, to] = plan.chunks[i];
                long t = std::min(to, T - first), end = std::max(from, T - last);
                if (t <= end) continue;
                while (t-- > end) step(t, from);
                if (end > from) continue;
                m.wait();
                if (c.dx) input_gradient(from, to);
                weight_gradients(from, to);
            }
            if (last == T) finish();
        }

        item *dz_row(long t, long b, long from) const {
            return f.dz + (plan.offset[t] - plan.offset[from] + b) * plan.lddz;
        }
        Packed own(int p) const {
            long K = f.depth(Cell::products[p].count);
            return {f.product[p] + mine.unit0 * W * K, K};
        }
        // The own units of rows of padded width.
        void clear(real *rows_of_units, long count) const {
            for (long r = 0; r < count; r++)
                std::fill_n(rows_of_units + r * plan.ldn + unit0 * W, (unit1 - unit0) * W, real(0));
        }

        void prepare() {
            for (int p = 0; p < Cell::PRODUCTS && !plan.in_place_back(); p++) {
                Product q = Cell::products[p];
                pack_columns(f.product[p] + mine.pack0 * W * f.depth(q.count), c.W_a, c.n, c.n,
                             plan.nv, mine.pack0, mine.pack1, q.slot, q.count);
            }
            long K = f.depth(Cell::INPUTS);
            if (c.dx && !plan.in_place_back())
                pack_columns(f.input + column0 * W * K, c.W_x, c.n_x, c.n, plan.nv, column0,
                             column1, 0, Cell::INPUTS);
            for (int k = 0; k < Cell::STATES; k++) clear(f.carry[k], c.B);
            clear(f.db, Cell::INPUTS);
            clear(f.dvector, Cell::VECTORS);
            for (int g = 0; g < Cell::GATES; g++) {
                long row = g * c.n, none = !plan.steps();
                if (none || !is_written(true, g)) clear_rows(c.dW_x, row, c.n, unit0, unit1, c.n_x);
                if (none || !is_written(false, g)) clear_rows(c.dW_a, row, c.n, unit0, unit1, c.n);
            }
            m.wait();
        }
        void step(long t, long from) {
            for (long i = 0; i < mine.count(t); i++) right[i] = dz_row(t, mine.place(i), from);
            pieces<Cell::STAGES>(t);
            mine.wait();
            stages<Cell::STAGES>(t);
            for (long i = 0; i < mine.count(t); i++)
                if (plan.is_reset(t, mine.place(i)))
                    for (int k = 0; k < Cell::STATES; k++)
                        std::fill_n(f.carry[k] + mine.place(i) * plan.ldn + mine.unit0 * W,
                                    (mine.unit1 - mine.unit0) * W, real(0));
        }

        // After the pieces of stage s: its products, then the pieces of the stage before.
        template <int s> void stages(long t) {
            if constexpr (s > 0) {
                for (int p = 0; p < Cell::PRODUCTS; p++)
                    if (Cell::products[p].stage == s) multiply(t, p);
                if constexpr (s > 1 || Cell::RUNS_0) {
                    pieces<s - 1>(t);
                    if constexpr (s > 1 || REDUCES_BACK(0)) mine.wait();
                    if constexpr (s > 1) stages<s - 1>(t);
                }
            }
        }

        // Gradient of the operand += dz W_a, for the own units.
        void multiply(long t, int p) {
            Product q = Cell::products[p];
            real *to = q.operand < Cell::STATES ? f.carry[q.operand] : f.dvalue[q.operand];
            for (long i = 0; i < mine.count(t); i++) {
                targets[i] = to + mine.place(i) * plan.ldn;
                left.at[i] = right[i] + q.slot * W;
            }
            if (plan.in_place_back())
                return columns_product({c.W_a, Cell::gate + q.slot, q.count, c.n, c.n, DS * W},
                                       left.at.data(), mine.count(t), mine.unit0, mine.unit1,
                                       targets.data());
            columns(mine.unit0, mine.unit1, own(p), {plan.nv, q.count * W / PAIR, DS * W / PAIR},
                    mine.count(t), plan.tiled_steps());
        }
        void columns(long first, long last, Packed w, Stretch k, long count, bool tiled) {
            long column[MAX_V];
            left.take(k, {targets.data(), targets.data()}, count, last - first, tiled);
            for (long g = 0; g < left.groups(); g++)
                for (long i = first; i < last; i += MAX_V) {
                    int V = std::min<long>(MAX_V, last - i);
                    for (int v = 0; v < V; v++) column[v] = (i + v) * W;
                    left.multiply(g, V, w.chunk(i - first), column);
                }
        }

        // The own units of own rows; all units of whole rows, where the stage reduces.
        template <int s> void pieces(long t) {
            if constexpr (REDUCES_BACK(s)) {
                mine.wait();
                for (long i = mine.whole0(t); i < mine.whole1(t); i++) {
                    vec r[Cell::backward_row + 1];
                    phases<s, 0>(t, i, r);
                }
            } else {
                for (long i = 0; i < mine.count(t); i++)
                    units<s, 0>(t, i, mine.unit0, mine.unit1, nullptr);
            }
        }
        template <int s, int phase>
        inline __attribute__((always_inline)) void phases(long t, long i, vec *r) {
            Cell::template backward_row_of<s, phase>(all(real(c.n)), r);
            units<s, phase>(t, i, 0, plan.nv, r);
            if constexpr (phase + 1 < Cell::backward_phases[s]) phases<s, phase + 1>(t, i, r);
        }
        template <int s, int phase>
        inline __attribute__((always_inline)) void units(long t, long i, long u0, long u1, vec *r) {
            long b = mine.place(i);
            const real *before[Cell::STATES];
            for (int k = 0; k < Cell::STATES; k++) before[k] = plan.before(k, t, b, f.zeros);
            for (long u = u0; u < u1; u++)
                plan.lanes(u) == W ? piece<s, phase>(t, b, u, right[i], before, W, r)
                                   : piece<s, phase>(t, b, u, right[i], before, plan.lanes(u), r);
        }

        template <int s, int phase>
        inline __attribute__((always_inline)) void piece(long t, long b, long u, item *dzs,
                                                         const real *const *before, int lanes, vec *r) {
            constexpr bool LAST = s == Cell::STAGES;
            vec z[S], state[Cell::STATES], dstate[Cell::STATES] = {}, dz[DS] = {};
            vec p[Cell::VECTORS + 1], *dp = dz + S, dbefore[Cell::STATES] = {}, dvalue[Cell::OPERANDS + 1] = {};
            vec q[Cell::STREAMS + 1], dq[Cell::STREAMS + 1] = {};
            const real *zs = c.z + (plan.offset[t] + b) * plan.ldz + u * S * W;
            for (int i = 0; i < S; i++) z[i] = load(zs + i * W);
            for (int i = 0; i < Cell::VECTORS; i++) p[i] = load(c.vectors[i] + u * W, lanes);
            for (int k = 0; k < Cell::STATES; k++) {
                state[k] = load(before[k] + u * W, lanes);
                if (!LAST) continue;
                dstate[k] = load(f.carry[k] + b * plan.ldn + u * W);
                if (b >= plan.alive[t + 1] && c.dfinal[k])
                    dstate[k] += load(c.dfinal[k] + plan.order[b] * c.n + u * W, lanes);
            }
            if (LAST && c.dy)
                dstate[0] += load(c.dy + t * c.dy_time + plan.order[b] * c.dy_batch + u * W, lanes);
            for (int j = Cell::STATES; j < Cell::OPERANDS; j++)
                if (Cell::made[j] == s) dvalue[j] = load(f.dvalue[j] + b * plan.ldn + u * W);
            plan.streams(q, t, b, u, lanes);
            Cell::template backward<s, phase>(z, state, p, q, all(real(c.n)), lanes, r,
                                              kept + u * Cell::backward_kept * W, dvalue, dstate, dz,
                                              dbefore, dp, dq);
            if constexpr (phase + 1 < Cell::backward_phases[s]) return;
            for (int i = 0; i < Cell::STREAMS; i++) {
                if (!(Cell::stream_touches[s] >> i & 1) || !c.dstreams[i]) continue;
                real *to = c.dstreams[i] + (t * c.B + plan.order[b]) * c.n + u * W;
                store(to, load(to, lanes) + dq[i], lanes);
            }
            for (int i = 0; i < DS; i++) {
                if (!(Cell::touches[s] >> i & 1)) continue;
                if (lanes < W)  // beyond the last unit nothing is defined
                    for (int lane = lanes; lane < W; lane++) dz[i][lane] = 0;
                item *to = dzs + (u * DS + i) * W;
                store(to, touched(i, s + 1) ? load(to) + dz[i] : dz[i]);
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

        // dx = dz W_x (+ the gradient of an x that the equations read), for own columns; by tiles
        // for own rows, since they copy dz.
        void input_gradient(long from, long to) {
            bool by_rows = plan.tiled_chunks();
            long all = plan.offset[to] - plan.offset[from], count = 0;
            long row0 = by_rows ? m.first(all) : 0, row1 = by_rows ? m.last(all) : all;
            long u0 = by_rows ? 0 : column0, u1 = by_rows ? plan.xv : column1;
            long first = u0 * W, width = std::min(u1 * W, c.n_x) - first;
            for (long t = from, row = 0; t < to; t++)
                for (long b = 0; b < plan.alive[t]; b++, row++) {
                    if (row < row0 || row >= row1) continue;
                    left.at[count] = dz_row(t, b, from);
                    targets[count] = f.dx + row * plan.ldx;
                    results[count] = c.dx + (t * c.B + plan.order[b]) * c.n_x;
                    for (long u = u0; u < u1; u++)
                        store(targets[count] + u * W,
                              Cell::DIRECT < 0 ? vec{}
                                               : load(left.at[count] + (u * DS + Cell::DIRECT) * W));
                    count++;
                }
            long K = f.depth(Cell::INPUTS);
            if (plan.in_place_back())
                columns_product({c.W_x, Cell::gate, Cell::INPUTS, c.n, c.n_x, DS * W},
                                left.at.data(), count, u0, u1, targets.data());
            else
                columns(u0, u1, {f.input + u0 * W * K, K},
                        {plan.nv, Cell::INPUTS * W / PAIR, DS * W / PAIR}, count, by_rows);
            for (long r = 0; r < count && width > 0; r++)
                copy_row(targets[r] + first, width, results[r] + first);
        }

        // db and the gradients of the vectors: sums over the rows of dz, for own units.
        void sum_rows(long from, long to) {
            for (long u = unit0; u < unit1; u++) {
                vec sum[DS] = {};
                for (long t = from; t < to; t++)
                    for (long b = 0; b < plan.alive[t]; b++)
                        for (int i = 0; i < DS; i++)
                            if (touched(i)) sum[i] += load(dz_row(t, b, from) + (u * DS + i) * W);
                for (int i = 0; i < DS; i++) {
                    if (i >= Cell::INPUTS && i < S) continue;
                    real *sums = i < S ? f.db + i * plan.ldn : f.dvector + (i - S) * plan.ldn;
                    store(sums + u * W, load(sums + u * W) + sum[i]);
                }
            }
        }

        // dW_x += dz x and dW_a += dz v for the rows of a chunk, a block at a time.
        void weight_gradients(long from, long to) {
            sum_rows(from, to);
            long size = 0;
            for (long t = from; t < to && (c.dW_x || c.dW_a); t++)
                for (long b = 0; b < plan.alive[t]; b++) left.at[size++] = dz_row(t, b, from);
            for (long k = 0; k < size; k += BLOCK_ROWS) {
                long rows_here = std::min(BLOCK_ROWS, size - k), K = packed_words(word_count(rows_here));
                m.wait();  // the block before is used up
                pack_dz(left.at.data() + k, rows_here);
                if (c.dW_x) pack_operand(X, from, k, rows_here);
                for (int p = 0; c.dW_a && p < Cell::PRODUCTS; p++)
                    if (first_with_operand(p) == p) pack_operand(p, from, k, rows_here);
                m.wait();
                bool first = to == plan.steps() && k == 0;
                if (c.dW_x) gradient_block(K, X, f.packed[X], c.dW_x, c.n_x, first);
                for (int p = 0; c.dW_a && p < Cell::PRODUCTS; p++)
                    gradient_block(K, p, f.packed[p], c.dW_a, c.n, first);
            }
            m.wait();  // dz is free for the next chunk
        }
        // `count` rows from the `first` of the chunk on; the panels are shared out among the members.
        void pack_operand(int p, long from, long first, long count) {
            long size = 0, width = p == X ? c.n_x : c.n;
            for (long t = from; size < first + count; t++)
                for (long b = 0; b < plan.alive[t]; b++)
                    rows[size++] = p == X
                                       ? plan.x_row(t, b)
                                       : plan.operand_row(Cell::products[p].operand, t, b, f.zeros);
            long panels = ((width + W - 1) / W + GRAD_V - 1) / GRAD_V;
            pack_panels(f.packed[p], rows.data() + first, count, width, m.first(panels),
                        m.last(panels));
        }
        // packed_dz[unit vector][slot], for own units.
        void pack_dz(const item *const *from, long count) {
            real *to = f.packed_dz + unit0 * S * W * BLOCK_WORDS;
            for (long u = unit0; u < unit1; u++)
                for (int s = 0; s < S; s++)
                    to = pack_units(to, from, count, (u * DS + s) * W, (const item *)f.zeros);
        }
        // Adds one block of rows to the sums of product p; `first`: the first of all blocks.
        void gradient_block(long K, int p, const real *operand, real *sums, long width,
                            bool first) {
            int slot = p == X ? 0 : Cell::products[p].slot;
            int count = p == X ? Cell::INPUTS : Cell::products[p].count;
            const real *dz = f.packed_dz + unit0 * S * W * BLOCK_WORDS;
            long vectors = (width + W - 1) / W, last = (unit1 - unit0) * count;
            auto add = [&](long g, long i) {
                UnitRows of[GRAD_UNITS];
                int many = std::min<long>(GRAD_UNITS, last - g), V = std::min<long>(GRAD_V, vectors - i);
                for (int r = 0; r < many; r++) {
                    long u = (g + r) / count, s = slot + (g + r) % count, unit = (unit0 + u) * W;
                    of[r] = {dz + (u * S + s) * W * K, std::min<long>(W, c.n - unit),
                             sums + (Cell::gate[s] * c.n + unit) * width,
                             first && sums_begin(p, s)};
                }
                add_gradients(of, many, {K, V, operand + i * W * K, i * W, width}, f.nowhere);
            };
            if (TILES)
                for (long g = 0; g < last; g += GRAD_UNITS)
                    for (long i = 0; i < vectors; i += GRAD_V) add(g, i);
            else  // a panel stays in the nearest cache
                for (long i = 0; i < vectors; i += GRAD_V)
                    for (long g = 0; g < last; g += GRAD_UNITS) add(g, i);
        }
        // What was summed in other places goes to where it was asked for.
        void finish() {
            m.wait();
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
            for (int i = 0; i < Cell::VECTORS && first < last; i++)
                if (c.dvectors[i])
                    std::copy_n(f.dvector + i * plan.ldn + first, last - first,
                                c.dvectors[i] + first);
            if (c.db && first < last) {
                for (int g = 0; g < Cell::GATES; g++)
                    std::fill_n(c.db + g * c.n + first, last - first, real(0));
                for (int s = 0; s < Cell::INPUTS; s++)
                    std::copy_n(f.db + s * plan.ldn + first, last - first,
                                c.db + Cell::gate[s] * c.n + first);
            }
        }
    };
};
