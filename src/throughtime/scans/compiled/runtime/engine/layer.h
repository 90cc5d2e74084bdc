// One step of a layer for some rows: the products, and between them the equations of its cell.

#pragma once

#include "engine/matrix.h"

constexpr int MOST = 16;  // states, operands, vectors or streams of a cell

// As the tracer has it: see the struct of each cell.
struct Product {
    int stage, operand, slot, count;
};

// z has, of each vector of units, the slots of the cell side by side: z[vector of units][slot][W].
struct Layer {
    int64_t cell, n, n_x;      // which cell; units; numbers of x
    int64_t adds_input;        // y + x goes on
    int64_t looked_up;         // x is W_x x + b already, laid out as z
    int64_t wide;              // so many numbers of x are read, zeros behind the last; 0: those there are
    Matrix input;              // W_x
    Matrix products[MOST];     // W_a, of the slots of each product
    const real *bias;          // laid out as z: b in the slots that x feeds, zeros in the others
    const real *vectors[MOST];
    const real *streams[MOST];  // what the equations read beside x, the same at every step
    int64_t parts[MOST], sizes[MOST];  // where each part of its state begins in a slot; its numbers
    int64_t state_count;
};

constexpr long padded(long n) { return (n + W - 1) / W * W; }

// The rows that step together; its arrays are theirs alone, or those of all members who share them.
struct Rows {
    long count;
    real **slot;        // where the state of each begins
    const real **x;     // what the next layer reads of each
    const real **operand;
    real **z, **kept;
    real **values;      // [MOST][count] what products take that is no state
    real **wide, **sum;  // x with zeros behind it; y + x
};

template <class Cell> struct LayerStep {
    static constexpr int S = Cell::SLOTS;
    const Layer &l;
    const Rows &rows;
    const Member &member;
    long nv, ldz, u0, u1;

    LayerStep(const Layer &l, const Rows &rows, const Member &member)
        : l(l), rows(rows), member(member), nv((l.n + W - 1) / W), ldz(nv * S * W),
          u0(member.first(nv)), u1(member.last(nv)) {}

    static long z_size(const Layer &l) { return padded(l.n) * S + W; }
    static long values_size(const Layer &l) { return padded(l.n) * (Cell::OPERANDS - Cell::STATES); }
    static long kept_size(const Layer &l) { return padded(l.n) * Cell::forward_kept; }

    real *value(int operand, long i) const {
        return rows.values[i] + (operand - Cell::STATES) * nv * W;
    }
    const real *operand(int k, long i) const {
        return k < Cell::STATES ? rows.slot[i] + l.parts[k] : value(k, i);
    }

    void run() {
        inputs();
        if constexpr (Cell::RUNS_0) {
            pieces<0>();
            member.wait();
        }
        if constexpr (Cell::STAGES > 0) stages<1>();
        outputs();
    }

    // z = b + W_x x, or what is looked up.
    void inputs() {
        for (long i = 0; l.wide && member.id == 0 && i < rows.count; i++) {
            std::copy(rows.x[i], rows.x[i] + l.n_x, rows.wide[i]);
            std::fill(rows.wide[i] + l.n_x, rows.wide[i] + l.wide, real(0));
            rows.x[i] = rows.wide[i];
        }
        for (long i = 0; i < rows.count; i++) {
            const real *given = l.looked_up ? rows.x[i] : l.bias;
            std::copy(given + u0 * S * W, given + u1 * S * W, rows.z[i] + u0 * S * W);
        }
        member.wait();
        if (!l.looked_up && Cell::INPUTS) {
            multiply(l.input, rows.x, 0, Cell::INPUTS);
            member.wait();
        }
        for (long i = 0; Cell::DIRECT >= 0 && i < rows.count; i++)
            for (long u = u0; u < u1; u++)
                store(rows.z[i] + (u * S + std::max(Cell::DIRECT, 0)) * W, load(rows.x[i] + u * W));
    }

    // z = b + W_x x, as a step makes it.
    void look_up() {
        for (long i = 0; i < rows.count; i++) std::copy(l.bias, l.bias + ldz, rows.z[i]);
        multiply(l.input, rows.x, 0, Cell::INPUTS);
    }

    // z += W a, in some slots.
    void multiply(const Matrix &m, const real *const *a, int slot, int count) {
        auto place = [=](long f) { return (f / count * S + slot + f % count) * W; };
        product(m, rows.count, a, rows.z, rows.z, place, ldz, member);
    }

    template <int s> void stages() {
        for (int p = 0; p < Cell::PRODUCTS; p++) {
            ::Product q = Cell::products[p];
            if (q.stage != s) continue;
            if (member.id == 0)
                for (long i = 0; i < rows.count; i++) rows.operand[i] = operand(q.operand, i);
            member.wait();
            multiply(l.products[p], rows.operand, q.slot, q.count);
            member.wait();
        }
        pieces<s>();
        member.wait();
        if constexpr (s < Cell::STAGES) stages<s + 1>();
    }

    // A stage that reduces over the units needs whole rows; else each member has units of all rows.
    template <int s> void pieces() {
        if constexpr (Cell::forward_phases[s] > 1) {
            for (long i = member.id; i < rows.count; i += member.size) {
                vec r[Cell::forward_row + 1];
                phases<s, 0>(i, r);
            }
        } else {
            for (long i = 0; i < rows.count; i++) units<s, 0>(i, u0, u1, nullptr);
        }
    }
    template <int s, int phase>
    inline __attribute__((always_inline)) void phases(long i, vec *r) {
        Cell::template forward_row_of<s, phase>(all(real(l.n)), r);
        units<s, phase>(i, 0, nv, r);
        if constexpr (phase + 1 < Cell::forward_phases[s]) phases<s, phase + 1>(i, r);
    }
    template <int s, int phase>
    inline __attribute__((always_inline)) void units(long i, long first, long last, vec *r) {
        for (long u = first; u < last; u++) {
            int lanes = std::min<long>(W, l.n - u * W);
            vec z[S + 1], state[Cell::STATES], p[Cell::VECTORS + 1], q[Cell::STREAMS + 1];
            vec value[Cell::OPERANDS + 1], out[Cell::STATES];
            for (int j = 0; j < S; j++) z[j] = load(rows.z[i] + (u * S + j) * W);
            for (int k = 0; k < Cell::STATES; k++)
                state[k] = load(rows.slot[i] + l.parts[k] + u * W);
            for (int j = 0; j < Cell::VECTORS; j++) p[j] = load(l.vectors[j] + u * W);
            for (int j = 0; j < Cell::STREAMS; j++) q[j] = load(l.streams[j] + u * W);
            Cell::template forward<s, phase>(z, state, p, q, all(real(l.n)), lanes, r,
                                             rows.kept[i] + u * Cell::forward_kept * W, value, out);
            if constexpr (phase + 1 < Cell::forward_phases[s]) continue;
            for (int j = Cell::STATES; j < Cell::OPERANDS; j++)
                if (Cell::made[j] == s) store(this->value(j, i) + u * W, value[j]);
            if constexpr (s == Cell::STAGES)
                for (int k = 0; k < Cell::STATES; k++)
                    store(rows.slot[i] + l.parts[k] + u * W, out[k]);
        }
    }

    // What the layer above reads.
    void outputs() {
        for (long i = 0; l.adds_input && i < rows.count; i++) {
            const real *y = rows.slot[i] + l.parts[0];
            for (long u = u0; u < u1; u++)
                store(rows.sum[i] + u * W, load(y + u * W) + load(rows.x[i] + u * W));
        }
        member.wait();
        for (long i = 0; member.id == 0 && i < rows.count; i++)
            rows.x[i] = l.adds_input ? rows.sum[i] : rows.slot[i] + l.parts[0];
        member.wait();
    }
};

// What the program has of each of its cells, in `FUNCTIONS`, which it defines.
struct Functions {
    void (*step)(const Layer &, const Rows &, const Member &);
    void (*look_up)(const Layer &, const Rows &, const Member &);
    long (*z_size)(const Layer &), (*values_size)(const Layer &), (*kept_size)(const Layer &);
};
template <class Cell> constexpr Functions functions_of() {
    return {[](const Layer &l, const Rows &rows, const Member &m) {
                LayerStep<Cell>(l, rows, m).run();
            },
            [](const Layer &l, const Rows &rows, const Member &m) {
                LayerStep<Cell>(l, rows, m).look_up();
            },
            LayerStep<Cell>::z_size, LayerStep<Cell>::values_size, LayerStep<Cell>::kept_size};
}
extern const Functions FUNCTIONS[];
