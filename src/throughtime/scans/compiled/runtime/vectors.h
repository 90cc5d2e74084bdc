// Vectors as wide as the processor's, and the functions that equations are made of.
//
// `real` is float or double, `vec` holds W of them; every operator acts on all lanes. GCC and
// Clang translate these vectors to AVX-512, AVX2, SSE or NEON. Accuracy in float: at most 4 units
// in the last place (the suite measures it), as good in double, where logarithms and powers are the
// C library's, lane by lane.
//
// Polynomials: least maximum relative error, fitted by Lawson's iteration; see scripts/fit.py.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__FMA__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define NATIVE_BYTES 64
#elif defined(__AVX2__)
#define NATIVE_BYTES 32
#else
#define NATIVE_BYTES 16
#endif
#ifndef VECTOR_BYTES  // the suite tries other widths than this processor's
#define VECTOR_BYTES NATIVE_BYTES
#endif

// Whether a part of a vector can be read and written by a mask; sanitizers do not see that.
#if defined(__AVX512F__) && VECTOR_BYTES == 64 && !defined(__SANITIZE_ADDRESS__)
#define MASKED 1
#else
#define MASKED 0
#endif

template <class T> struct Lanes;
template <> struct Lanes<float> {
    typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
    typedef float unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
    typedef int32_t mask __attribute__((vector_size(VECTOR_BYTES)));
};
template <> struct Lanes<double> {
    typedef double vec __attribute__((vector_size(VECTOR_BYTES)));
    typedef double unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
    typedef int64_t mask __attribute__((vector_size(VECTOR_BYTES)));
};
typedef Lanes<real>::vec vec;
typedef Lanes<real>::mask mask;
constexpr int W = VECTOR_BYTES / sizeof(real);

static inline vec load(const real *p) { return *(const Lanes<real>::unaligned *)p; }
static inline void store(real *p, vec v) { *(Lanes<real>::unaligned *)p = v; }

// The first `lanes` of them; the others read as zero and are not written.
static inline vec load(const real *p, int lanes) {
    if (lanes == W) return load(p);
#if MASKED && REAL_IS_FLOAT
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), p);
#elif MASKED
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << lanes) - 1), p);
#endif
    vec v = {};
    memcpy(&v, p, lanes * sizeof(real));
    return v;
}
// Bytes that are 1 or 0, as numbers.
static inline vec load_truths(const uint8_t *p, int lanes) {
    typedef uint8_t bytes __attribute__((vector_size(W)));
    bytes v = {};
    memcpy(&v, p, lanes);
    return __builtin_convertvector(v, vec);
}
static inline void store(real *p, vec v, int lanes) {
    if (lanes == W) return store(p, v);
#if MASKED && REAL_IS_FLOAT
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << lanes) - 1), (__m512)v);
#elif MASKED
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << lanes) - 1), (__m512d)v);
#else
    memcpy(p, &v, lanes * sizeof(real));
#endif
}

// Keeps v in a register: the compiler would rather read it from memory at each use.
static inline void hold(vec &v) {
#if VECTOR_BYTES != NATIVE_BYTES
#elif defined(__AVX512F__)
    asm("" : "+v"(v));
#elif defined(__SSE2__)
    asm("" : "+x"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
}

// left * right + sum, rounded once where the processor can. Not left to the compiler: it fuses here
// and not there, and a sum would depend on the tile, and so on the thread, that makes it.
static inline vec fused(vec left, vec right, vec sum) {
#if defined(__AVX512F__) && VECTOR_BYTES == 64 && REAL_IS_FLOAT
    return (vec)_mm512_fmadd_ps((__m512)left, (__m512)right, (__m512)sum);
#elif defined(__AVX512F__) && VECTOR_BYTES == 64
    return (vec)_mm512_fmadd_pd((__m512d)left, (__m512d)right, (__m512d)sum);
#elif defined(__FMA__) && VECTOR_BYTES == 32 && REAL_IS_FLOAT
    return (vec)_mm256_fmadd_ps((__m256)left, (__m256)right, (__m256)sum);
#elif defined(__FMA__) && VECTOR_BYTES == 32
    return (vec)_mm256_fmadd_pd((__m256d)left, (__m256d)right, (__m256d)sum);
#elif defined(__FMA__) && VECTOR_BYTES == 16 && REAL_IS_FLOAT
    return (vec)_mm_fmadd_ps((__m128)left, (__m128)right, (__m128)sum);
#elif defined(__FMA__) && VECTOR_BYTES == 16
    return (vec)_mm_fmadd_pd((__m128d)left, (__m128d)right, (__m128d)sum);
#elif defined(__aarch64__) && VECTOR_BYTES == 16 && REAL_IS_FLOAT
    return (vec)vfmaq_f32((float32x4_t)sum, (float32x4_t)left, (float32x4_t)right);
#elif defined(__aarch64__) && VECTOR_BYTES == 16
    return (vec)vfmaq_f64((float64x2_t)sum, (float64x2_t)left, (float64x2_t)right);
#elif defined(__FMA__) || defined(__aarch64__)  // wider than the processor: for tests
    for (int i = 0; i < W; i++) sum[i] = std::fma(left[i], right[i], sum[i]);
    return sum;
#else
    return sum + left * right;
#endif
}

static inline vec all(real x) { return x - vec{}; }
static inline mask no_lane() { return mask{}; }
static inline mask every_lane() { return ~mask{}; }
static inline mask is_nan(vec x) { return x != x; }
static inline vec where(mask m, vec a, vec b) { return m ? a : b; }

// Over the units of a row: vector by vector in rising order, of the last one its `lanes`; at the end
// the lanes, the upper half onto the lower. All lanes hold the result.
static inline vec first_lanes(vec v, int lanes, real other) {
    if (lanes < W)
        for (int lane = lanes; lane < W; lane++) v[lane] = other;
    return v;
}
static inline vec summed(vec sum, vec v, int lanes) { return sum + first_lanes(v, lanes, 0); }
static inline vec total(vec v) {
    for (int half = W / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) v[lane] += v[lane + half];
    return all(v[0]);
}

// Rows and columns of W vectors change places, in log2(W) rounds of exchanged halves.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HAS_SHUFFLE 1
#endif
#endif
#if HAS_SHUFFLE
template <int H, int SIDE, int... I>
static inline vec exchanged(vec a, vec b, std::integer_sequence<int, I...>) {
    // Lane i of side 0: a where bit H of i is clear, else b from H lanes before; side 1 mirrors it.
    return __builtin_shufflevector(
        a, b, (SIDE == 0 ? (I & H ? W + I - H : I) : (I & H ? W + I : I + H))...);
}
template <int H = W / 2> static inline void transpose(vec *m) {
    if constexpr (H > 0) {
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) {
            if (i & H) continue;
            vec a = m[i], b = m[i + H];
            m[i] = exchanged<H, 0>(a, b, std::make_integer_sequence<int, W>());
            m[i + H] = exchanged<H, 1>(a, b, std::make_integer_sequence<int, W>());
        }
        transpose<H / 2>(m);
    }
}
#else
static inline void transpose(vec *m) {
    for (int i = 0; i < W; i++)
        for (int j = 0; j < i; j++) {
            real kept = m[i][j];
            m[i][j] = m[j][i];
            m[j][i] = kept;
        }
}
#endif

// A function of the C library, lane by lane.
template <class F> static inline vec each(vec x, F f) {
    for (int i = 0; i < W; i++) x[i] = f(x[i]);
    return x;
}
template <class F> static inline vec each(vec x, vec y, F f) {
    for (int i = 0; i < W; i++) x[i] = f(x[i], y[i]);
    return x;
}

static inline vec sqrt_(vec x) { return each(x, [](real v) { return std::sqrt(v); }); }
static inline vec sin_(vec x) { return each(x, [](real v) { return std::sin(v); }); }
static inline vec cos_(vec x) { return each(x, [](real v) { return std::cos(v); }); }
static inline vec erf_(vec x) { return each(x, [](real v) { return std::erf(v); }); }
static inline vec pow_(vec x, vec y) {
    return each(x, y, [](real a, real b) { return std::pow(a, b); });
}
static inline vec abs_(vec x) {
    constexpr int bits = sizeof(real) * 8 - 1;
    typedef decltype(mask{}[0] + 0) integer;
    return (vec)((mask)x & ~(mask{} + (integer)((integer)1 << bits)));
}
// As torch: NaN in either argument gives NaN.
static inline vec minimum_(vec a, vec b) { return is_nan(a) ? a : (b < a || is_nan(b)) ? b : a; }
static inline vec maximum_(vec a, vec b) { return is_nan(a) ? a : (b > a || is_nan(b)) ? b : a; }
static inline vec highest(vec most, vec v, int lanes) {
    return maximum_(most, first_lanes(v, lanes, -INFINITY));
}
static inline vec highest_of(vec v) {
    vec most = all(v[0]);
    for (int lane = 1; lane < W; lane++) most = maximum_(most, all(v[lane]));
    return most;
}
static inline vec sign_(vec x) {
    return (x > 0 ? all(1) : all(0)) - (x < 0 ? all(1) : all(0));
}

template <class... C> static inline vec horner(vec x, real c0, C... c) {
    if constexpr (sizeof...(c) == 0)
        return all(c0);
    else
        return c0 + x * horner(x, c...);
}

#if REAL_IS_FLOAT

// 1 / x for an x that is neither zero, denormal, infinite nor near the largest number.
static inline vec reciprocal_(vec x) {
#if defined(__AVX512F__) && VECTOR_BYTES == 64
    vec y = (vec)_mm512_rcp14_ps((__m512)x);
    return y + y * (1 - x * y);  // Newton's step doubles the digits
#else
    return 1 / x;
#endif
}

// NaN stays NaN.
static inline vec at_most(vec x, float bound) {
#if defined(__AVX512F__) && VECTOR_BYTES == 64
    return (vec)_mm512_min_ps((__m512)all(bound), (__m512)x);
#else
    return x > bound ? all(bound) : x;
#endif
}
static inline vec at_least(vec x, float bound) {
#if defined(__AVX512F__) && VECTOR_BYTES == 64
    return (vec)_mm512_max_ps((__m512)all(bound), (__m512)x);
#else
    return x < bound ? all(bound) : x;
#endif
}

// e^x = 2^k (1 + p), for |x| <= 104: k = round(x / ln 2) and p = e^r - 1 with r = x - k ln 2.
struct PowerOfTwo {
    vec shifted, p;
    static constexpr float SHIFT = 12582912.0f + 127;  // 1.5 * 2^23 rounds to integers; the bias

    explicit PowerOfTwo(vec x) {
        shifted = x * 1.44269504f + SHIFT;
        vec r = x - k() * 0.693359375f;  // ln 2 in two parts
        r = r + k() * 2.12194440e-4f;
        p = r + r * r * horner(r, 0.49999997f, 0.16666542f, 0.041667204f, 0.0083666472f,
                               0.0013882496f);
    }
    vec k() const { return shifted - SHIFT; }
    vec two_k() const { return (vec)((mask)shifted << 23); }  // where -126 <= k <= 127
    static vec exp2(vec k) { return (vec)((mask)(k + SHIFT) << 23); }
};

static inline vec exp_(vec x) {
    PowerOfTwo e(at_most(at_least(x, -104.0f), 89.0f));
    vec half = (e.k() * 0.5f + 12582912.0f) - 12582912.0f;
    // Two factors: neither over- nor underflows.
    return (1 + e.p) * PowerOfTwo::exp2(half) * PowerOfTwo::exp2(e.k() - half);
}

static inline vec expm1_(vec x) {
    PowerOfTwo e(at_most(at_least(x, -20.0f), 89.0f));
    vec half = PowerOfTwo::exp2(e.k() - 1);
    return 2 * (half * e.p + (half - 0.5f));
}

static inline vec sigmoid_(vec x) {
    PowerOfTwo e(at_most(at_least(-x, -87.0f), 87.34f));
    vec two_k = e.two_k();
    vec y = reciprocal_(1 + two_k + two_k * e.p);
    return x < -87.33654f ? vec{} : y;  // less than the least normal number
}

// (e^2x - 1) / (e^2x + 1), the numerator without cancellation.
static inline vec tanh_(vec x) {
    PowerOfTwo e(at_most(at_least(2 * x, -20.0f), 20.0f));
    vec two_k = e.two_k();
    vec em1 = two_k * e.p + (two_k - 1);
    return em1 * reciprocal_(em1 + 2);
}

static inline vec log_(vec x) {
    mask tiny = x < 1.17549435e-38f;
    vec at = tiny ? x * 8388608.0f : x;
    mask bits = (mask)at - 0x3f3504f3;  // exponent of x / sqrt(1/2)
    vec k = __builtin_convertvector(bits >> 23, vec) - (tiny ? all(23) : all(0));
    vec f = (vec)((bits & 0x7fffff) + 0x3f3504f3) - 1;
    vec q = horner(f, 0.33333331f, -0.25000823f, 0.20001233f, -0.16623297f, 0.14201556f,
                   -0.13160598f, 0.12763312f, -0.076355964f);
    vec y = f * f * (f * q - 0.5f);
    y = k * 0.693359375f + (f + (y - k * 2.12194440e-4f));
    y = x == 0 ? all(-INFINITY) : y;
    y = x < 0 ? all(NAN) : y;
    return (x == INFINITY || is_nan(x)) ? x : y;
}

static inline vec log1p_(vec x) {
    vec u = 1 + x;
    vec lost = x - (u - 1);  // what rounding 1 + x lost
    vec y = log_(u) + lost / u;
    return (u == 0 || u == INFINITY || is_nan(u)) ? log_(u) : u == 1 ? x : y;
}

#else

static inline vec between(vec x, double low, double high) {  // NaN stays NaN
    x = x < low ? all(low) : x;
    return x > high ? all(high) : x;
}

// As in float, for |x| <= 746; the polynomial is Taylor's, whose next term is below a rounding.
struct PowerOfTwo {
    vec shifted, p;
    static constexpr double ROUNDER = 6755399441055744.0;  // 1.5 * 2^52 rounds to integers
    static constexpr double SHIFT = ROUNDER + 1023;

    explicit PowerOfTwo(vec x) {
        shifted = x * 1.4426950408889634 + SHIFT;
        vec r = x - k() * 6.93147180369123816490e-01;  // ln 2 in two parts
        r = r - k() * 1.90821492927058770002e-10;
        p = r + r * r * horner(r, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040,
                               1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800,
                               1.0 / 479001600, 1.0 / 6227020800);
    }
    vec k() const { return shifted - SHIFT; }
    static vec exp2(vec k) { return (vec)((mask)(k + SHIFT) << 52); }
};

static inline vec exp_(vec x) {
    PowerOfTwo e(between(x, -746, 710));
    vec half = (e.k() * 0.5 + PowerOfTwo::ROUNDER) - PowerOfTwo::ROUNDER;
    // Two factors: neither over- nor underflows.
    return (1 + e.p) * PowerOfTwo::exp2(half) * PowerOfTwo::exp2(e.k() - half);
}

static inline vec expm1_(vec x) {
    PowerOfTwo e(between(x, -40, 710));
    vec half = PowerOfTwo::exp2(e.k() - 1);
    return 2 * (half * e.p + (half - 0.5));
}

static inline vec sigmoid_(vec x) { return 1 / (1 + exp_(-x)); }

static inline vec tanh_(vec x) {
    PowerOfTwo e(between(2 * x, -40, 40));
    vec two_k = PowerOfTwo::exp2(e.k());
    vec em1 = two_k * e.p + (two_k - 1);
    return em1 / (em1 + 2);
}

static inline vec log_(vec x) { return each(x, [](real v) { return std::log(v); }); }
static inline vec log1p_(vec x) { return each(x, [](real v) { return std::log1p(v); }); }

#endif
