// The functions that Python calls.

#pragma once

#include "backward.h"
#include "forward.h"

#define VISIBLE __attribute__((visibility("default")))

extern "C" {

// For a look at whether both sides mean the same struct.
VISIBLE int64_t call_size() { return sizeof(Call); }

// How many numbers of scratch a call needs.
VISIBLE int64_t forward_scratch(const Call *c) { return Forward(*c).scratch; }
VISIBLE int64_t backward_scratch(const Call *c) { return Backward(*c).scratch; }

// From step `first` to a pause; give what to go on with, -1 at the end.
VISIBLE int64_t forward(const Call *c, int64_t first) { return Forward(*c).run(first); }
VISIBLE int64_t backward(const Call *c, int64_t first) { return Backward(*c).run(first); }
}
