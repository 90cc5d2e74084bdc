// One step of all layers of a stack over a batch, in one call, with weights that stay packed.
//
// What is read of a stack never changes, so threads may step at once, each with its own scratch.
// Every sum of a row runs over k in rising order: a row's result is the same bits in any batch, and
// those of a sequence of many steps.

#pragma once

#include "forward.h"

#if !ITEM_IS_HALF

struct Layer;

// `before` and `after` have the parts of the stack's state as its layout has them, each [places, B,
// n]; none of `after` overlaps one of `before`.
struct Step {
    int64_t count;  // of layers
    const Layer *layers;
    int64_t B, threads;
    int64_t checked;  // x is refused where it holds NaN or infinity
    const item *x;
    int64_t x_batch;  // its stride
    const real *const *before;
    real *const *after;
    item *y;  // [B, n of the last layer]
    real *scratch;
};

struct Layer {
    Call call;                     // n_x, n, the weights and their packed form
    int64_t part[MOST], place;     // where its states stand: state k is before[part[k]][place]
    int64_t adds_input;            // y + x goes on
    void (*run)(const Layer *, const Step *);          // of the library of its cell
    int64_t (*size)(const Layer *, const Step *);  // of the scratch for that
};

// A layer's step as a call of one time step; its scratch comes after what takes the place of the
// buffers of a scan.
struct LayerStep {
    Call c;

    LayerStep(const Layer &layer, const Step &s) : c(layer.call) {
        c.T = 1, c.B = s.B, c.threads = s.threads;
        c.x = s.x, c.x_batch = s.x_batch, c.y = s.y;
        long place = layer.place * c.B * c.n;
        Arena arena{s.scratch};
        for (int k = 0; k < Cell::STATES; k++) {
            if (s.before) {
                c.start[k] = c.start_operand[k] = s.before[layer.part[k]] + place;
                c.final[k] = s.after[layer.part[k]] + place;
            }
            if (k > 0) c.states[k] = arena.take(c.B * c.n);
        }
        for (int j = Cell::STATES; j < Cell::OPERANDS; j++) c.operands[j] = arena.take(c.B * c.n);
        used = arena.used;
        if (s.scratch) c.scratch = s.scratch + used;
    }
    long size() const { return used + Forward(c).scratch; }

  private:
    long used;
};

static bool finite(const Step &s) {
    long width = s.layers[0].call.n_x;
    vec sum = {};
    for (long b = 0; b < s.B; b++)
        for (long i = 0; i < width; i += W)
            sum += 0 * load(s.x + b * s.x_batch + i, std::min<long>(W, width - i));
    real all = 0;
    for (int lane = 0; lane < W; lane++) all += sum[lane];
    return all == 0;
}

// The numbers of a layer's output, for the layers between.
static long width_between(const Step &s) {
    long width = 0;
    for (long l = 0; l + 1 < s.count; l++) width = std::max<long>(width, s.layers[l].call.n);
    return (s.B * width + W - 1) / W * W;
}

static long size_of_step(Step s) {
    long most = 0;
    s.before = nullptr, s.scratch = nullptr;
    for (long l = 0; l < s.count; l++) most = std::max<long>(most, s.layers[l].size(&s.layers[l], &s));
    return 2 * width_between(s) + most;
}

// Gives whether x was taken.
static bool run_step(const Step &given) {
    if (given.checked && !finite(given)) return false;
    Step s = given;
    long width = width_between(s);
    real *between[2] = {given.scratch, given.scratch + width};
    s.scratch += 2 * width;
    for (long l = 0; l < s.count; l++) {
        const Layer &layer = s.layers[l];
        long n = layer.call.n;
        s.y = l + 1 < s.count ? between[l % 2] : given.y;
        layer.run(&layer, &s);
        for (long b = 0; b < s.B && layer.adds_input; b++)
            for (long i = 0; i < n; i++) s.y[b * n + i] += s.x[b * s.x_batch + i];
        s.x = s.y, s.x_batch = n;
    }
    return true;
}

#endif
