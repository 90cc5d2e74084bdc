// The functions that Python calls.

#pragma once

#include "backward.h"
#include "forward.h"

#define VISIBLE __attribute__((visibility("default")))

extern "C" {

// How many numbers of scratch a call needs.
VISIBLE int64_t forward_scratch(const Call *c) { return Forward(*c).scratch; }
VISIBLE int64_t backward_scratch(const Call *c) { return Backward(*c).scratch; }

VISIBLE void forward(const Call *c) { Forward(*c).run(); }
VISIBLE void backward(const Call *c) { Backward(*c).run(); }
}
