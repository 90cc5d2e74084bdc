// Vectors as wide as the processor's, and the functions that equations are made of.
//
// `real` is float or double, `vec` holds W of them; every operator acts on all lanes. GCC and
// Clang translate these vectors to AVX-512, AVX2, SSE or NEON. Accuracy in float: at most 4 units
// in the last place (the suite measures it); in double the C library's functions, lane by lane.
//
// Polynomials: least maximum relative error, fitted by Lawson's iteration; see scripts/fit.py.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
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
    vec v = {};
    memcpy(&v, p, lanes * sizeof(real));
    return v;
}
static inline void store(real *p, vec v, int lanes) {
    if (lanes == W)
        store(p, v);
    else
        memcpy(p, &v, lanes * sizeof(real));
}

static inline vec all(real x) { return x - vec{}; }
static inline mask no_lane() { return mask{}; }
static inline mask every_lane() { return ~mask{}; }
static inline mask is_nan(vec x) { return x != x; }
static inline vec where(mask m, vec a, vec b) { return m ? a : b; }

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
static inline vec sign_(vec x) {
    return (x > 0 ? all(1) : all(0)) - (x < 0 ? all(1) : all(0));
}

#if REAL_IS_FLOAT

static inline vec horner(vec) = delete;
template <class... C> static inline vec horner(vec x, float c0, C... c) {
    if constexpr (sizeof...(c) == 0)
        return all(c0);
    else
        return c0 + x * horner(x, c...);
}

// e^x = 2^k (1 + p): the integer k as a float, and p = e^r - 1 with r = x - k ln 2.
struct PowerOfTwo {
    vec k, p;
    explicit PowerOfTwo(vec x) {
        k = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // adding 1.5 * 2^23 rounds to integers
        vec r = x - k * 0.693359375f;                       // ln 2 in two parts
        r = r + k * 2.12194440e-4f;
        p = r + r * r * horner(r, 0.49999997f, 0.16666542f, 0.041667204f, 0.0083666472f,
                               0.0013882496f);
    }
    // 2^k for -126 <= k <= 127.
    static vec exp2(vec k) {
        return (vec)((mask)(k + 12583039.0f) << 23);  // 1.5 * 2^23 + 127, the bias of exponents
    }
};

static inline vec exp_(vec x) {
    vec at = x < -104.0f ? all(-104.0f) : x;
    at = at > 89.0f ? all(89.0f) : at;
    PowerOfTwo e(at);
    vec half = (e.k * 0.5f + 12582912.0f) - 12582912.0f;  // two factors: neither over- nor underflows
    return (1 + e.p) * PowerOfTwo::exp2(half) * PowerOfTwo::exp2(e.k - half);
}

static inline vec expm1_(vec x) {
    vec at = x < -20.0f ? all(-20.0f) : x;
    at = at > 89.0f ? all(89.0f) : at;
    PowerOfTwo e(at);
    vec half = PowerOfTwo::exp2(e.k - 1);
    return 2 * (half * e.p + (half - 0.5f));
}

static inline vec sigmoid_(vec x) {
    vec at = x < -88.0f ? all(-88.0f) : x;
    at = at > 88.0f ? all(88.0f) : at;
    PowerOfTwo e(-at);
    vec two_k = PowerOfTwo::exp2(e.k);
    vec y = 1 / (1 + two_k + two_k * e.p);
    return x < -88.0f ? vec{} : y;  // less than the least normal number
}

// (e^2x - 1) / (e^2x + 1), the numerator without cancellation.
static inline vec tanh_(vec x) {
    vec at = x < -10.0f ? all(-10.0f) : x;
    at = at > 10.0f ? all(10.0f) : at;
    PowerOfTwo e(2 * at);
    vec two_k = PowerOfTwo::exp2(e.k);
    vec em1 = two_k * e.p + (two_k - 1);
    return em1 / (em1 + 2);
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

static inline vec exp_(vec x) { return each(x, [](real v) { return std::exp(v); }); }
static inline vec expm1_(vec x) { return each(x, [](real v) { return std::expm1(v); }); }
static inline vec tanh_(vec x) { return each(x, [](real v) { return std::tanh(v); }); }
static inline vec log_(vec x) { return each(x, [](real v) { return std::log(v); }); }
static inline vec log1p_(vec x) { return each(x, [](real v) { return std::log1p(v); }); }
static inline vec sigmoid_(vec x) { return 1 / (1 + exp_(-x)); }

#endif
