// The functions that Python calls.

#pragma once

#include <memory>

#include "engine/pack.h"
#include "engine/steps.h"

#define VISIBLE __attribute__((visibility("default")))

// So many rows for each thread, at least, for it to take rows of its own; and so many products of a
// step, at least, for threads to share the units of all rows.
constexpr long LEAST_ROWS = 8;
#ifndef LEAST_WIDE
#define LEAST_WIDE (1l << 20)
#endif
// Below so many a wait for another thread may take longer than the work: see `Crowd`.
constexpr long MOST_SMALL = 1l << 22;

static long weights_of(const Model &m) {
    long count = 0;
    for (long k = 0; k < m.layer_count; k++) {
        const Layer &l = m.layers[k];
        count += l.input.vectors * W * l.input.columns;
        for (const Matrix &one : l.products) count += one.vectors * W * one.columns;
    }
    for (long k = 0; k < m.map_count; k++) count += m.maps[k].W.vectors * W * m.maps[k].W.columns;
    return count;
}

// one(part, its size, where it stands in a slot) of each part of the state of each layer, in order;
// then of what joins x.
template <class Part, class One> static void carry(const Model &m, Part *parts, One one) {
    for (long k = 0; k < m.layer_count; k++)
        for (long j = 0; j < m.layers[k].state_count; j++)
            one(*parts++, m.layers[k].sizes[j], m.layers[k].parts[j]);
    if (m.extra) one(*parts, m.extra, m.extra_at);
}

// Work(room, member, first, last) for rows in parts: each thread has rows of its own, or all share the
// units of all rows.
template <class Work> static void shared(const Model &m, long rows, long threads, Work work) {
    bool by_rows = threads > 1 && rows >= LEAST_ROWS * threads;
    long products = weights_of(m) * std::min(rows, LEAST_ROWS);
    bool small = !by_rows && products < MOST_SMALL;
    if (!by_rows && products < LEAST_WIDE) threads = 1;
    if (small && threads > 1 && crowd.is_here()) threads = 1;
    long parts = by_rows ? threads : 1;
    std::vector<std::unique_ptr<Room>> rooms;
    for (long k = 0; k < parts; k++)
        rooms.emplace_back(new Room(m, rows * (k + 1) / parts - rows * k / parts));
    together(threads, small, [&](Member member) {
        if (!by_rows) return work(*rooms[0], member, 0l, rows);
        Barrier own;
        for (long k = member.id; k < parts; k += member.size)
            work(*rooms[k], Member{0, 1, own}, rows * k / parts, rows * (k + 1) / parts);
    });
}

extern "C" {

// For a look at whether both sides mean the same: bytes of each struct, lanes, vectors of a chunk.
VISIBLE int64_t sizes(int64_t which) {
    int64_t of[] = {sizeof(Model), sizeof(Layer), sizeof(Map), sizeof(Row), sizeof(Drawing), W, V};
    return of[which];
}

// The numbers of a matrix, and its scales where it has any, from rows that lie anywhere.
VISIBLE void pack(const Matrix *m, const real *const *rows) { pack_matrix(*m, rows); }

// z [count, width] of what would be x [count, x_width] of a layer: the table of a layer that looks up.
VISIBLE void look_up(const Layer *l, int64_t count, const real *x, int64_t x_width, real *z,
                     int64_t width) {
    const Functions &of = FUNCTIONS[l->cell];
    std::vector<real> row(of.z_size(*l));  // where what fills up the last chunk is written
    Barrier alone;
    for (long i = 0; i < count; i++) {
        const real *from = x + i * x_width;
        real *to = row.data();
        of.look_up(*l, Rows{1, nullptr, &from, nullptr, &to}, Member{0, 1, alone});
        std::copy(to, to + width, z + i * width);
    }
}

// Steps of the rows that have not ended, at most `steps` and at least one, for so many nanoseconds;
// gives how many of them go on.
VISIBLE int64_t write(const Model *m, Row *rows, int64_t count, real *slots, int64_t steps,
                      int64_t threads, int64_t nanoseconds) {
    auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(nanoseconds);
    for (long i = 0; i < count; i++) rows[i].made = 0;
    shared(*m, count, threads, [&](Room &room, const Member &member, long first, long last) {
        for (long i = first; member.id == 0 && i < last; i++) room.active.push_back(&rows[i]);
        write_rows(*m, room, member, slots, steps, until);
    });
    long on = 0;
    for (long i = 0; i < count; i++) on += !rows[i].ended;
    return on;
}

// One step of `count` rows from the states `before`, of each part of each layer [count, its size], to
// `after`: of tokens, or of x [count, n_x]. What comes out of the stack goes to y [count, n], and of
// the maps to logits [count, rows of the last map]; either null.
VISIBLE void step(const Model *m, int64_t count, const real *const *before, real *const *after,
                  const int64_t *tokens, const real *x, real *y, int64_t n, real *logits,
                  int64_t threads) {
    std::vector<real> slots(count * m->slot);
    shared(*m, count, threads, [&](Room &room, const Member &member, long first, long last) {
        Stepping stepping{*m, room, member};
        room.rows.count = last - first;
        for (long i = first; member.id == 0 && i < last; i++) {
            real *slot = slots.data() + i * m->slot;
            carry(*m, before, [&](const real *part, long size, long at) {
                std::copy(part + i * size, part + (i + 1) * size, slot + at);
            });
            if (tokens)
                stepping.read(i - first, tokens[i], slot);
            else
                stepping.take(i - first, x + i * m->n_x, slot);
        }
        member.wait();
        stepping.advance();
        for (long i = first; member.id == 0 && i < last; i++) {
            const real *slot = slots.data() + i * m->slot, *out = room.rows.x[i - first];
            carry(*m, after, [&](real *part, long size, long at) {
                std::copy(slot + at, slot + at + size, part + i * size);
            });
            if (y) std::copy(out, out + n, y + i * n);
        }
        if (!logits) return;
        real **found = stepping.answer(last - first);
        long wide = m->maps[m->map_count - 1].rows;
        for (long i = member.id; i < last - first; i += member.size)
            std::copy(found[i], found[i] + wide, logits + (first + i) * wide);
    });
}
}
