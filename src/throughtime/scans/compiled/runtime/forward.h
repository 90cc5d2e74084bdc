// Forward: z = b + W_x x for a chunk of time, then step by step the products and the pieces.

#pragma once

#include "in_place.h"
#include "plan.h"

// Whether a stage reduces over the units, so that its pieces need whole rows.
#define REDUCES(s) (Cell::forward_phases[s] > 1)

struct Forward {
    const Plan plan;
    real *zeros, *bias, *z, *kept, *input, *product[Cell::PRODUCTS + 1];
    long input_words, words;  // of a row of W_x, of W_a
    long packed_size, scratch;

    explicit Forward(const Call &c)
        : plan(c), input_words(packed_words(word_count(c.n_x))),
          words(packed_words(word_count(c.n))) {
        Arena arena{c.scratch};
        if (c.packed) {
            Arena kept{const_cast<real *>(c.packed)};  // written by `pack` alone
            take_weights(kept);
        } else {
            take_weights(arena);
        }
        packed_size = arena.used;
        zeros = arena.take(std::max(c.n, c.n_x) + W);
        z = c.keep ? c.z : arena.take(plan.chunk_rows * plan.ldz);
        kept = arena.take(plan.threads() * plan.ldn * Cell::forward_kept);
        scratch = arena.used;
    }
    // Where weights lie in the order of the loops.
    void take_weights(Arena &arena) {
        bias = arena.take(plan.ldz);
        if (plan.in_place()) return;
        input = arena.take(plan.ldn * Cell::INPUTS * input_words);
        for (int p = 0; p < Cell::PRODUCTS; p++)
            product[p] = arena.take(plan.ldn * Cell::products[p].count * words);
    }

    // The weights, for all calls that have them as `packed`.
    void pack() const {
        Barrier barrier;
        Part(*this, {0, 1, barrier}).prepare();
    }

    // From step `first` to a pause; gives the step to go on with, or -1.
    long run(long first) {
        long last = plan.pause(first, false);
        if (first == 0) begin();
        together(plan.threads(), plan.small(), [=](Member m) { Part(*this, m).run(first, last); });
        return last < plan.steps() ? last : -1;
    }
    void begin() {
        const Call &c = plan.c;
        std::fill(zeros, zeros + std::max(c.n, c.n_x) + W, real(0));
        plan.clear_padding(c.y, c.n);
        for (long b = plan.alive[0]; b < c.B; b++)
            for (int k = 0; k < Cell::STATES; k++)
                std::copy_n(c.start[k] + plan.order[b] * c.n, c.n, c.final[k] + plan.order[b] * c.n);
    }

    // What one member does.
    struct Part {
        const Forward &f;
        const Plan &plan;
        const Call &c;
        Member m;
        Share mine;
        LeftRows left[Cell::PRODUCTS + 1];     // rows of each operand, then of x
        std::vector<real *> right;             // rows of z
        std::vector<const real *> first_sums;  // the bias, for every row
        real *kept;                            // of the row at hand, from phase to phase

        Part(const Forward &f, Member m)
            : f(f), plan(f.plan), c(f.plan.c), m(m), mine(plan, m),
              right(std::max(plan.chunk_rows, c.B)), first_sums(right.size(), f.bias),
              kept(f.kept + m.id * plan.ldn * Cell::forward_kept) {
            for (LeftRows &rows : left) rows.at.resize(right.size());
        }

        real *z_row(long t, long b, long from) const {
            return f.z + (plan.offset[t] - (c.keep ? 0 : plan.offset[from]) + b) * plan.ldz;
        }
        Packed own(real *packed, int count, long K) const {
            return {packed + mine.unit0 * count * W * K, K};
        }
        void pack(real *to, const item *weights, long K, int slot, int count) const {
            pack_rows(plan.vectors(), to + mine.pack0 * count * W * packed_words(word_count(K)), weights, K, c.n, mine.pack0,
                      mine.pack1, slot, count);
        }

        void run(long first, long last) {
            if (first == 0 && !c.packed) prepare();
            for (auto [from, to] : plan.chunks) {
                long t = std::max(from, first), end = std::min(to, last);
                if (t >= end) continue;
                if (t == from) inputs(from, to);
                for (; t < end; t++) step(t, from);
                if (!c.keep) m.wait();  // the next chunk takes the same z for other sequences
            }
        }

        void prepare() {
            if (!plan.in_place()) {
                pack(f.input, c.W_x, c.n_x, 0, Cell::INPUTS);
                for (int p = 0; p < Cell::PRODUCTS; p++)
                    pack(f.product[p], c.W_a, c.n, Cell::products[p].slot,
                         Cell::products[p].count);
            }
            set_bias();
            m.wait();
        }

        // A row of z before any product: b in the slots that see x, zero in the others.
        void set_bias() const {
            for (long u = mine.pack0; u < mine.pack1; u++)
                for (int s = 0; s < S; s++)
                    store(f.bias + (u * S + s) * W,
                          s < Cell::INPUTS
                              ? load(c.b + Cell::gate[s] * c.n + u * W, plan.lanes(u))
                              : vec{});
        }

        // z = b + W_x x.
        void inputs(long from, long to) {
            LeftRows &x = left[Cell::PRODUCTS];
            long rows = 0;
            for (long t = from; t < to; t++)
                for (long i = 0; i < mine.count(t); i++, rows++) {
                    x.at[rows] = plan.x_row(t, mine.place(i));
                    right[rows] = z_row(t, mine.place(i), from);
                }
            if (Cell::DIRECT >= 0)
                for (long r = 0; r < rows; r++)
                    for (long u = mine.unit0; u < mine.unit1; u++)
                        store(right[r] + (u * S + std::max(Cell::DIRECT, 0)) * W,
                              load(x.at[r] + u * W, plan.lanes(u)));
            take(x, c.n_x, first_sums.data(), rows, Cell::INPUTS, plan.tiled_chunks());
            multiply(x, mine.unit0, mine.unit1, 0, Cell::INPUTS, f.input, c.W_x, c.n_x,
                     first_sums.data(), rows);
        }

        // z[right] = from + left * weights, in the slots given, for the units [u0, u1).
        void multiply(LeftRows &rows_at, long u0, long u1, int slot, int count, real *packed,
                      const item *weights, long K, const real *const *from, long rows) {
            if (plan.in_place()) {
                for (long u = u0; u < u1; u++)
                    for (int s = slot; s < slot + count; s++)
                        for (long r = 0; r < rows; r += 4) {
                            long at = (u * S + s) * W, some = std::min(4l, rows - r);
                            const item *first = weights + (Cell::gate[s] * c.n + u * W) * K;
                            vec sum[4];
                            rows_product(some, &rows_at.at[r], first, K, plan.lanes(u), sum);
                            for (long i = 0; i < some; i++)
                                store(right[r + i] + at, load(from[r + i] + at) + sum[i]);
                        }
                return;
            }
            long unit0 = mine.unit0, most = plan.vectors(), column[std::max(MAX_V, STEP_V)];
            Packed w = own(packed, count, packed_words(word_count(K)));
            long first = (u0 - unit0) * count, last = (u1 - unit0) * count;
            for (long g = 0; g < rows_at.groups(); g++)
                for (long i = first; i < last; i += most) {
                    int V = std::min<long>(most, last - i);
                    for (int v = 0; v < V; v++)
                        column[v] = ((unit0 + (i + v) / count) * S + slot + (i + v) % count) * W;
                    rows_at.multiply(g, V, w.chunk(i), column);
                }
        }
        void take(LeftRows &operand, long K, const real *const *from, long rows, int count,
                  bool tiled) {
            if (!plan.in_place())
                operand.take({1, word_count(K), 0, K % PAIR > 0}, {from, right.data()}, rows,
                             (mine.unit1 - mine.unit0) * count, tiled);
        }

        void step(long t, long from) {
            for (long i = 0; i < mine.count(t); i++) right[i] = z_row(t, mine.place(i), from);
            if constexpr (Cell::RUNS_0) {
                if constexpr (REDUCES(0))
                    whole_rows<0>(t);
                else
                    pieces<0>(t, mine.unit0, mine.unit1);
                mine.wait();
            }
            if constexpr (Cell::STAGES > 0) stages<1>(t);
        }

        // Slots that see x hold their sums so far; the others begin at zero, as in `bias`.
        const real *const *sums_before(Product q) const {
            return q.slot < Cell::INPUTS ? right.data() : first_sums.data();
        }
        template <int s> void stages(long t) {
            for (int p = 0; p < Cell::PRODUCTS; p++) {
                Product q = Cell::products[p];
                if (q.stage != s) continue;
                for (long i = 0; i < mine.count(t); i++)
                    left[p].at[i] = plan.operand_row(q.operand, t, mine.place(i), f.zeros);
                take(left[p], c.n, sums_before(q), mine.count(t), q.count, plan.tiled_steps());
            }
            for (long u = mine.unit0; u < mine.unit1; u += BLOCK_UNITS) {
                long u1 = std::min(mine.unit1, u + BLOCK_UNITS);
                for (int p = 0; p < Cell::PRODUCTS; p++) {
                    Product q = Cell::products[p];
                    if (q.stage == s)
                        multiply(left[p], u, u1, q.slot, q.count, f.product[p], c.W_a, c.n,
                                 sums_before(q), mine.count(t));
                }
                if constexpr (!REDUCES(s)) pieces<s>(t, u, u1);
            }
            if constexpr (REDUCES(s)) whole_rows<s>(t);
            mine.wait();
            if constexpr (s < Cell::STAGES) stages<s + 1>(t);
        }

        template <int s> void pieces(long t, long u0, long u1) {
            for (long i = 0; i < mine.count(t); i++) units<s, 0>(t, i, u0, u1, nullptr);
        }
        // The pieces of a stage that reduces, for all units of own rows.
        template <int s> void whole_rows(long t) {
            mine.wait();
            for (long i = mine.whole0(t); i < mine.whole1(t); i++) {
                vec r[Cell::forward_row + 1];
                phases<s, 0>(t, i, r);
            }
        }
        template <int s, int phase>
        inline __attribute__((always_inline)) void phases(long t, long i, vec *r) {
            Cell::template forward_row_of<s, phase>(all(real(c.n)), r);
            units<s, phase>(t, i, 0, plan.nv, r);
            if constexpr (phase + 1 < Cell::forward_phases[s]) phases<s, phase + 1>(t, i, r);
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
        inline __attribute__((always_inline)) void piece(long t, long b, long u, const real *zs,
                                                         const real *const *before, int lanes, vec *r) {
            vec z[S], state[Cell::STATES], p[Cell::VECTORS + 1], out[Cell::STATES];
            vec value[Cell::OPERANDS + 1], q[Cell::STREAMS + 1];
            for (int i = 0; i < S; i++) z[i] = load(zs + (u * S + i) * W);
            for (int k = 0; k < Cell::STATES; k++) state[k] = load(before[k] + u * W, lanes);
            for (int i = 0; i < Cell::VECTORS; i++) p[i] = load(c.vectors[i] + u * W, lanes);
            plan.streams(q, t, b, u, lanes);
            Cell::template forward<s, phase>(z, state, p, q, all(real(c.n)), lanes, r,
                                             kept + u * Cell::forward_kept * W, value, out);
            if constexpr (phase + 1 < Cell::forward_phases[s]) return;
            for (int j = Cell::STATES; j < Cell::OPERANDS; j++)
                if (Cell::made[j] == s) store(plan.value_row(j, t, b) + u * W, value[j], lanes);
            if constexpr (s == Cell::STAGES) {
                for (int k = 0; k < Cell::STATES; k++) {
                    store(plan.state_row(k, t, b) + u * W, out[k], lanes);
                    if (ROUNDED && (k == 0 || is_operand(k)))
                        store(plan.rounded_row(k, t, b) + u * W, out[k], lanes);
                    if (b >= plan.alive[t + 1])
                        store(c.final[k] + plan.order[b] * c.n + u * W, out[k], lanes);
                }
            }
        }
    };
};
