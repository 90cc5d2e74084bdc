// The next token of a row from its logits: `decoding.Sampling` says what each step means.

#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "engine/matrix.h"

struct Drawing {
    double temperature, top_p, min_p, repetition, presence, frequency;
    int64_t top_k, seed;
    const real *added;  // [V] to the logits of each token, −∞ for what never occurs; or null
};

// What penalties look at: which tokens stand in a text, and how often each was written; or nulls.
struct Before {
    uint8_t *seen;
    int32_t *counts;
};

// Chance as `ground.chance.shares` has it: a hash of seed, sample and position.
static uint64_t mixed(uint64_t word) {
    for (int k = 0; k < 2; k++) word = ((word >> 16) ^ word) * 0x45D9F3B & 0xFFFFFFFF;
    return (word >> 16) ^ word;
}
static double share(int64_t seed, int64_t sample, int64_t position) {
    constexpr uint64_t WORD = 0xFFFFFFFF, GOLDEN = 0x9E3779B9;
    uint64_t low = seed & WORD, high = (uint64_t)seed >> 32, words[2];
    uint64_t first = mixed((high ^ GOLDEN) + low & WORD);
    for (uint64_t &word : words) {
        first = mixed(first + GOLDEN & WORD);
        uint64_t of_sample = mixed(mixed(first + (sample & WORD) & WORD) + GOLDEN & WORD);
        word = mixed(of_sample + (position & WORD) & WORD);
    }
    return ((words[0] << 21) + (words[1] >> 11)) / 9007199254740992.0;
}

// Buffers [V] of who draws.
struct Draw {
    long tokens;
    std::vector<real> z, p;
    std::vector<int32_t> order;

    explicit Draw(long tokens) : tokens(tokens), z(padded_to(tokens)), p(padded_to(tokens)) {}
    static long padded_to(long n) { return (n + W - 1) / W * W; }

    // The most probable, the first of equals; -1 where a logit is no number, or +∞.
    long highest(const real *logits) const {
        long at = 0;
        bool fine = true;
        for (long k = 0; k < tokens; k++) {
            fine &= logits[k] < INFINITY;
            if (logits[k] > logits[at]) at = k;
        }
        return fine ? at : -1;
    }

    // log Σ_k e^(z_k − top).
    double log_sum(const real *logits, real top) {
        real *e = p.data();
        exponentials(logits, top, e);
        double sum = 0;
        for (long k = 0; k < tokens; k++) sum += e[k];
        return std::log(sum);
    }
    void exponentials(const real *from, real top, real *e) const {
        for (long k = 0; k < tokens; k += W)
            store(e + k, exp_(load(from + k, (int)std::min<long>(W, tokens - k)) - top));
    }

    // The token, by a chance in [0, 1).
    long token(const real *logits, const Drawing &d, const Before &before, double chance) {
        changed(logits, d, before);
        long best = highest(z.data());
        if (d.temperature == 0 || best < 0) return std::max(best, 0l);
        cool(d, best);
        if (d.top_k > 0 && d.top_k < tokens) keep_best(d.top_k);
        real top = z[best];
        exponentials(z.data(), top, p.data());
        double sum = 0;
        for (long k = 0; k < tokens; k++) sum += p[k];
        for (long k = 0; k < tokens; k++) p[k] = float(p[k] * real(1 / sum));
        if (d.top_p < 1) keep_share(float(d.top_p));
        real least = float(d.min_p) * p[best];
        for (long k = 0; d.min_p > 0 && k < tokens; k++)
            if (p[k] < least) p[k] = 0;
        return passed(chance);
    }

  private:
    // Penalties, and what is added.
    void changed(const real *logits, const Drawing &d, const Before &before) {
        std::copy(logits, logits + tokens, z.begin());
        for (long k = 0; d.repetition != 1 && k < tokens; k++)
            if (before.seen[k]) z[k] = z[k] > 0 ? z[k] / real(d.repetition) : z[k] * real(d.repetition);
        for (long k = 0; d.presence != 0 && k < tokens; k++)
            if (before.counts[k]) z[k] -= real(d.presence);
        for (long k = 0; d.frequency != 0 && k < tokens; k++) z[k] -= real(d.frequency) * before.counts[k];
        for (long k = 0; d.added && k < tokens; k++) z[k] += d.added[k];
    }
    void cool(const Drawing &d, long best) {
        if (d.temperature == 1) return;
        real cold = real(d.temperature), top = z[best];
        if (std::isfinite(top / cold)) {
            for (long k = 0; k < tokens; k++) z[k] /= cold;
        } else {  // so cold that they overflow: 0 / 0 is the largest
            for (long k = 0; k < tokens; k++) z[k] = z[k] == top ? 0 : (z[k] - top) / cold;
        }
    }
    // Those that are not among the k most probable go; what equals the last of these stays.
    void keep_best(long k) {
        std::copy(z.begin(), z.begin() + tokens, p.begin());
        std::nth_element(p.begin(), p.begin() + (k - 1), p.begin() + tokens, std::greater<real>());
        real least = p[k - 1];
        for (long j = 0; j < tokens; j++)
            if (z[j] < least) z[j] = -INFINITY;
    }
    // The fewest, from the most probable on and the first of equals first, that hold a share.
    void keep_share(float share) {
        order.resize(tokens);
        std::iota(order.begin(), order.end(), 0);
        auto before = [&](int32_t a, int32_t b) { return p[a] > p[b] || (p[a] == p[b] && a < b); };
        double sum = 0;
        long done = 0, kept = 0;
        for (long some = 64; kept == done && done < tokens; some *= 8) {  // few are enough, mostly
            long end = std::min(tokens, done + some);
            if (end < tokens)
                std::nth_element(order.begin() + done, order.begin() + end, order.end(), before);
            std::sort(order.begin() + done, order.begin() + end, before);
            for (done = end; kept < end; kept++) {
                real one = p[order[kept]];
                sum += one;
                if (kept > 0 && float(sum) - one >= share) break;
            }
        }
        for (long k = kept; k < tokens; k++) p[order[k]] = 0;
    }
    // The first token whose sum with all before it passes that share of the whole.
    long passed(double chance) const {
        double whole = 0, sum = 0;
        for (long k = 0; k < tokens; k++) whole += p[k];
        double limit = whole * chance;
        for (long k = 0; k < tokens; k++) {
            sum += p[k];
            if (sum > limit || sum >= whole) return k;
        }
        return tokens - 1;
    }
};
