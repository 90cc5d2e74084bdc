// Texts that are written side by side: steps of a whole model, from tokens to tokens.
//
// A row is a text: where its state stands, what it reads next, how its tokens are drawn. Rows have no
// part in each other: any of them may begin, wait or end at any step.

#pragma once

#include <chrono>

#include "engine/draw.h"
#include "engine/layer.h"

// y = then(W x + b).
struct Map {
    Matrix W;
    const real *bias;
    int64_t rows, then;  // 0: nothing, 1: relu, 2: tanh
};

struct Model {
    int64_t tokens;                   // of the last map's rows, how many are tokens
    int64_t layer_count, map_count, slot;  // numbers of a slot
    const Layer *layers;
    const Map *maps;
    const real *table;                // [tokens][table_width] x of each token
    int64_t table_width, n_x;         // n_x: those of them that are x, where it is not looked up whole
    int64_t extra, extra_at;          // numbers of a slot that join x, and where they stand
};

struct Row {
    int64_t slot, token;              // where its state begins; what it reads next
    const int64_t *given;             // [given_count] tokens to read after it
    int64_t given_count, scores;      // `scores`: how probable each of those is goes to log_probability
    int64_t sample, position, left, eos;  // of the next draw; tokens that it may write in this call
    const Drawing *drawing;
    Before before;
    int64_t *written;                 // where its next token goes
    float *log_probability;           // and what the model gave it; or null
    int64_t tops, *top;               // so many likely tokens in its place,
    float *top_probability;           // and what it gave these
    int64_t ended;                    // 0: it goes on, 1: eos, 3: logits are no numbers
    int64_t made;                     // tokens that this call wrote or scored
};

// The buffers of rows that step together.
struct Room {
    std::vector<real> numbers;
    std::vector<real *> pointers;
    Rows rows;
    real **h[2];
    std::vector<Row *> active, drawing;
    bool over = false;

    Room(const Model &m, long count);
};

inline Room::Room(const Model &m, long count) {
    long z = 0, values = 0, kept = 0, wide = padded(m.n_x + m.extra), sum = 0, h = 0;
    for (long k = 0; k < m.layer_count; k++) {
        const Layer &l = m.layers[k];
        const Functions &of = FUNCTIONS[l.cell];
        z = std::max(z, of.z_size(l)), values = std::max(values, of.values_size(l));
        kept = std::max(kept, of.kept_size(l)), wide = std::max<long>(wide, padded(l.wide));
        sum = std::max(sum, padded(l.n));
    }
    for (long k = 0; k < m.map_count; k++) h = std::max(h, m.maps[k].W.chunks() * V * W);
    long sizes[] = {z, values, kept, wide, sum, h, h}, each = 0;
    for (long size : sizes) each += size = padded(size);
    numbers.resize(each * count + W);
    pointers.resize(10 * count);
    real *at = numbers.data() + (-(uintptr_t)numbers.data() / sizeof(real)) % W;
    real **next = pointers.data();
    real **of[7];
    for (int k = 0; k < 7; k++, next += count) {
        of[k] = next;
        for (long i = 0; i < count; i++, at += padded(sizes[k])) next[i] = at;
    }
    rows = {0, next, (const real **)next + count, (const real **)next + 2 * count,
            of[0], of[2], of[1], of[3], of[4]};
    this->h[0] = of[5], this->h[1] = of[6];
}

// One step of a model for the rows of a room, by one member of those who share them.
struct Stepping {
    const Model &m;
    Room &room;
    const Member &member;

    // The state of each row after what it reads; rows.x is what comes out.
    void advance() {
            for (long k = 0; k < m.layer_count; k++)
            FUNCTIONS[m.layers[k].cell].step(m.layers[k], room.rows, member);
    }
    // x of a token, and what joins it.
    void read(long i, long token, real *slot) {
        const real *x = m.table + token * m.table_width;
        room.rows.slot[i] = slot;
        if (m.extra) {
            real *whole = room.rows.wide[i];
            std::copy(x, x + m.n_x, whole);
            std::copy(slot + m.extra_at, slot + m.extra_at + m.extra, whole + m.n_x);
            x = whole;
        }
        room.rows.x[i] = x;
    }
    // The same of numbers that are x.
    void take(long i, const real *x, real *slot) {
        real *whole = room.rows.wide[i];
        std::copy(x, x + m.n_x, whole);
        room.rows.slot[i] = slot, room.rows.x[i] = whole;
    }
    // The maps of the first `count` of rows.x; gives where the last map's rows are.
    real **answer(long count) {
        real **a = (real **)room.rows.x;
        for (long k = 0; k < m.map_count; k++) {
            const Map &map = m.maps[k];
            real **to = room.h[k % 2];
            if (member.id == 0)
                for (long i = 0; i < count; i++) room.rows.operand[i] = map.bias;
            member.wait();
            product(map.W, count, a, room.rows.operand, to, [](long f) { return f * W; }, 0, member);
            member.wait();
            for (long i = member.id; map.then && i < count; i += member.size)
                for (long u = 0; u < padded(map.rows); u += W) {
                    vec y = load(to[i] + u);
                    store(to[i] + u, map.then == 1 ? where(y < 0, vec{}, y) : tanh_(y));
                }
            member.wait();
            a = to;
        }
        return a;
    }
};

// What a row does with its logits: a token is drawn, or the next one that is given is looked at.
inline void settle(Row &row, const real *logits, Draw &draw) {
    long best = draw.highest(logits);
    if (best < 0) {
        row.ended = 3;
        return;
    }
    long token;
    if (row.given_count) {
        token = row.given[0];
    } else {
        const Drawing &d = *row.drawing;
        double chance = d.temperature > 0 ? share(d.seed, row.sample, row.position) : 0;
        token = draw.token(logits, d, row.before, chance);
        row.position++, row.left--;
        if (row.before.seen) row.before.seen[token] = 1, row.before.counts[token]++;
    }
    if (row.log_probability) {
        real top = logits[best];
        double log_sum = draw.log_sum(logits, top);
        *row.log_probability++ = float(logits[token] - top - log_sum);
        if (row.tops) {
            draw.order.resize(draw.tokens);
            std::iota(draw.order.begin(), draw.order.end(), 0);
            std::partial_sort(draw.order.begin(), draw.order.begin() + row.tops, draw.order.end(),
                              [&](int32_t a, int32_t b) {
                                  return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
                              });
            for (long k = 0; k < row.tops; k++) {
                *row.top++ = draw.order[k];
                *row.top_probability++ = float(logits[draw.order[k]] - top - log_sum);
            }
        }
    }
    row.made++;
    if (row.given_count) return;
    *row.written++ = row.token = token;
    row.ended = token == row.eos;
}

// The rows of a room, step by step, until all have ended, `steps` are done or time is up.
inline void write_rows(const Model &m, Room &room, const Member &member, real *slots, long steps,
                       std::chrono::steady_clock::time_point until) {
    Stepping stepping{m, room, member};
    Draw draw(m.tokens);
    for (long t = 0;; t++) {
        if (member.id == 0) {
            auto ended = [](Row *row) { return row->ended || (!row->given_count && row->left <= 0); };
            room.active.erase(std::remove_if(room.active.begin(), room.active.end(), ended),
                              room.active.end());
            room.over = room.active.empty() || t == steps ||
                        (t && std::chrono::steady_clock::now() >= until);
            room.rows.count = room.active.size();
            for (long i = 0; i < room.rows.count; i++)
                stepping.read(i, room.active[i]->token, slots + room.active[i]->slot * m.slot);
        }
        member.wait();
        if (room.over) return;
        stepping.advance();
        if (member.id == 0) {
            room.drawing.clear();
            for (long i = 0; i < room.rows.count; i++) {
                Row &row = *room.active[i];
                if (!row.given_count || row.scores) {
                    room.rows.x[room.drawing.size()] = room.rows.x[i];
                    room.drawing.push_back(&row);
                }
            }
        }
        member.wait();
        long count = room.drawing.size();
        real **logits = count ? stepping.answer(count) : nullptr;
        for (long i = member.id; i < count; i += member.size)
            settle(*room.drawing[i], logits[i], draw);
        member.wait();
        for (long i = 0; member.id == 0 && i < room.rows.count; i++) {
            Row &row = *room.active[i];
            if (row.given_count) row.token = *row.given++, row.given_count--;
        }
    }
}
