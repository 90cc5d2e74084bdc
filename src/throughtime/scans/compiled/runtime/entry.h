// The functions that Python calls.

#pragma once

#include "forward.h"
#include "step.h"
#if !STORED_HALF
#include "backward.h"
#endif

#define VISIBLE __attribute__((visibility("default")))

// At the first step of a call: the threads that it keeps to its end.
static void choose_threads(Call &c) {
    if (c.threads > 1 && crowd.is_here() && Plan(c).small()) c.threads = 1;
}

extern "C" {

// How many calls are to be made by one thread, if their steps are small; gives how many were.
VISIBLE int64_t expect_crowd(int64_t calls) { return crowd.expect(calls); }

// For a look at whether both sides mean the same struct.
VISIBLE int64_t call_size() { return sizeof(Call); }

// How many numbers of scratch a call needs.
VISIBLE int64_t forward_scratch(const Call *c) { return Forward(*c).scratch; }
// From step `first` to a pause; give what to go on with, -1 at the end.
VISIBLE int64_t forward(Call *c, int64_t first) {
    if (first == 0) choose_threads(*c);
    return Forward(*c).run(first);
}
#if !STORED_HALF
VISIBLE int64_t backward_scratch(const Call *c) { return Backward(*c).scratch; }
VISIBLE int64_t backward(Call *c, int64_t first) {
    if (first == 0) choose_threads(*c);
    return Backward(*c).run(first);
}
#endif

// How many numbers the packed weights of a call without steps take, and the packing.
VISIBLE int64_t packed_size(const Call *c) { return Forward(*c).packed_size; }
VISIBLE void pack(const Call *c) { Forward(*c).pack(); }

#if !ITEM_IS_HALF
// One step of all layers of a stack, and the numbers of scratch for it; see step.h.
VISIBLE int64_t layer_size() { return sizeof(Layer); }
VISIBLE void layer_step(const Layer *layer, const Step *s) {
    LayerStep step(*layer, *s);
    choose_threads(step.c);
    Forward(step.c).run(0);
}
VISIBLE int64_t layer_scratch(const Layer *layer, const Step *s) {
    return LayerStep(*layer, *s).size();
}
VISIBLE int64_t step(const Step *s) { return run_step(*s); }
VISIBLE int64_t step_scratch(const Step *s) { return size_of_step(*s); }
#endif
}
