// What tensors hold, and the words that products are summed over.
//
// An *item* is a real, or the upper half of a float (bfloat16): then sums and pieces are in float,
// and only tensors, the operands of products and dz are rounded. A *word* is as large as a real: one
// item, or a pair of them, which one instruction multiplies and adds where the processor has it.

#pragma once

#include "vectors.h"

#if ITEM_IS_HALF

typedef uint16_t item;
typedef uint16_t half __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));

static inline vec load(const item *p) {
    return (vec)(__builtin_convertvector(*(const half *)p, mask) << 16);
}
static inline vec load(const item *p, int lanes) {
    if (lanes == W) return load(p);
    item items[W] = {};
    memcpy(items, p, lanes * sizeof(item));
    return load(items);
}
// Rounded to the nearest, ties to even; NaN stays NaN.
static inline void store(item *p, vec v) {
    mask bits = (mask)v;
    mask rounded = bits + 0x7fff + (bits >> 16 & 1);
    bits = is_nan(v) ? bits | 0x400000 : rounded;
    *(half *)p = __builtin_convertvector(bits >> 16, half);
}
static inline void store(item *p, vec v, int lanes) {
    if (lanes == W) return store(p, v);
    item items[W];
    store(items, v);
    memcpy(p, items, lanes * sizeof(item));
}

// Pairs of items, the first in the lower half of each word.
static inline vec words(const item *first, const item *second, int lanes) {
    typedef uint32_t bits __attribute__((vector_size(VECTOR_BYTES)));
    bits low = (bits)load(first, lanes), high = {};
    if (second) high = (bits)load(second, lanes);
    return (vec)(high | low >> 16);
}
static inline vec all_bits(const item *p, int items) {
    int32_t word = 0;  // not a float: those are changed by arithmetic where they are denormal
    memcpy(&word, p, items * sizeof(item));
    return (vec)(mask{} + word);
}

#else

typedef real item;

static inline vec words(const item *only, const item *, int lanes) { return load(only, lanes); }
static inline vec all_bits(const item *p, int) { return all(*p); }

#endif

constexpr int PAIR = sizeof(real) / sizeof(item);  // items of a word
constexpr long word_count(long items) { return (items + PAIR - 1) / PAIR; }

// TILES: 0 none, 1 the processor's, 2 a stand-in for them; see tiles.h. They go with vectors of 64
// bytes, and with a compiler that knows them.
#if !defined(TILES) || VECTOR_BYTES != 64 || (TILES == 1 && !defined(__AMX_BF16__))
#undef TILES
#define TILES 0
#endif
// STORED_HALF: packed weights are the upper halves of floats, two along the sum in one word; products
// and sums stay in float. The weights that are packed hold nothing below. Such a library only steps.
#ifndef STORED_HALF
#define STORED_HALF 0
#endif
constexpr int STORED = STORED_HALF ? 2 : 1;  // words along the sum in one packed word
// Packed words along a sum: tiles take sixteen at a time, the last of them zeros.
constexpr long packed_words(long words) {
    return TILES ? (words + 15) / 16 * 16 : (words + STORED - 1) / STORED;
}
// The packed word of STORED words along the sum, the first in its lower half.
static inline vec stored(const vec *words) {
#if STORED_HALF
    typedef uint32_t bits __attribute__((vector_size(VECTOR_BYTES)));
    return (vec)((bits)words[1] | (bits)words[0] >> 16);
#else
    return words[0];
#endif
}

// The words of a row from `p` on, in memory; of them, `items` items exist.
static inline vec load_words(const item *p, long items) {
    typedef real loose __attribute__((vector_size(VECTOR_BYTES), aligned(alignof(item)), may_alias));
    if (items >= W * PAIR) return *(const loose *)p;
#if MASKED && ITEM_IS_HALF && defined(__AVX512BW__)
    if (items <= 0) return vec{};
    return (vec)_mm512_maskz_loadu_epi16((__mmask32)((1u << items) - 1), p);
#elif MASKED && !ITEM_IS_HALF
    return load((const real *)p, (int)std::max(items, 0l));
#endif
    vec v = {};
    if (items > 0) memcpy(&v, p, items * sizeof(item));
    return v;
}

// sum += left * right, in all lanes; with pairs, both products of each.
#if ITEM_IS_HALF && defined(__AVX512BF16__) && VECTOR_BYTES == 64
#define HAS_DOT 1
static inline vec add_product(vec sum, vec left, vec right) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
}
#elif ITEM_IS_HALF && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && VECTOR_BYTES == 16
#define HAS_DOT 1
static inline vec add_product(vec sum, vec left, vec right) {
    return (vec)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)left, (bfloat16x8_t)right);
}
#else
#define HAS_DOT 0
static inline vec add_product(vec sum, vec left, vec right) { return fused(left, right, sum); }
#endif

// Without such an instruction, the items of a pair are taken one after the other, as reals.
constexpr int PARTS = HAS_DOT ? 1 : PAIR;
template <int half> static inline vec half_of(vec word) {
    return (vec)(half ? (mask)word & ~0xffff : (mask)word << 16);
}
template <int part> static inline vec part_of(vec word) {
    if constexpr (PARTS == 1)
        return word;
    else
        return half_of<part>(word);
}
