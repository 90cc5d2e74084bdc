"""The C of chance: numbers that depend on a seed alone, and tokens drawn by them."""

CHANCE = """
static uint32_t name_mixed(uint32_t word) {
    word = ((word >> 16) ^ word) * 0x45d9f3bu;
    word = ((word >> 16) ^ word) * 0x45d9f3bu;
    return (word >> 16) ^ word;
}

double name_chance(uint64_t seed, uint32_t sample, uint32_t step) {
    const uint32_t golden = 0x9e3779b9u;
    uint32_t first = name_mixed(((uint32_t)(seed >> 32) ^ golden) + (uint32_t)seed), words[2];
    int i;
    for (i = 0; i < 2; i++) {
        first = name_mixed(first + golden);
        words[i] = name_mixed(name_mixed(name_mixed(first + sample) + golden) + step);
    }
    return ((double)words[0] * 2097152.0 + (double)(words[1] >> 11)) / 9007199254740992.0;
}
"""

DRAWS = """
/* The largest number such that `many` of the values or more, or their sum `share`, are not below
   it: found by halving. */
static float name_threshold(const float *p, float most, int many, double share) {{
    float low = 0.0f, high = most; /* low is far enough down, above high too few are left */
    int i, round;
    for (round = 0; round < 48; round++) {{
        const float middle = low + (high - low) * 0.5f;
        double sum = 0.0;
        int count = 0;
        if (!(middle > low && middle < high)) break;
        for (i = 0; i < NAME_TOKENS; i++)
            if (p[i] >= middle) {{
                sum += (double)p[i];
                count++;
            }}
        if (many ? count >= many : sum >= share)
            low = middle;
        else
            high = middle;
    }}
    {{ /* the high end itself may be enough */
        double sum = 0.0;
        int count = 0;
        for (i = 0; i < NAME_TOKENS; i++)
            if (p[i] >= high) {{
                sum += (double)p[i];
                count++;
            }}
        return (many ? count >= many : sum >= share) ? high : low;
    }}
}}

int name_draw(float logits[NAME_TOKENS], const name_sampling *how, double chance) {{
    static const int never[{nevers}] = {{{never}}};
    float most, least = 0.0f;
    double sum = 0.0, reached = 0.0;
    int i, best = -1, last = 0;
    for (i = 0; i < {never_count}; i++) logits[never[i]] = -name_infinity();
    for (i = 0; i < NAME_TOKENS; i++)
        if (best < 0 || logits[i] > logits[best]) best = i;
    if (how->temperature <= 0.0f) return best;
    most = logits[best];
    for (i = 0; i < NAME_TOKENS; i++) {{ /* probabilities, of which the largest is 1 */
        const float less = (logits[i] - most) / how->temperature;
        logits[i] = less > -name_infinity() ? name_exp(less) : 0.0f;
        sum += (double)logits[i];
    }}
    if (how->top_k > 0 && how->top_k < NAME_TOKENS) {{
        least = name_threshold(logits, 1.0f, how->top_k, 0.0);
        for (i = 0, sum = 0.0; i < NAME_TOKENS; i++) {{
            if (logits[i] < least) logits[i] = 0.0f;
            sum += (double)logits[i];
        }}
    }}
    if (how->top_p < 1.0f) {{
        least = name_threshold(logits, 1.0f, 0, (double)how->top_p * sum);
        for (i = 0; i < NAME_TOKENS; i++)
            if (logits[i] < least) logits[i] = 0.0f;
    }}
    if (how->min_p > 0.0f)
        for (i = 0; i < NAME_TOKENS; i++)
            if (logits[i] < how->min_p) logits[i] = 0.0f;
    for (i = 0, sum = 0.0; i < NAME_TOKENS; i++) sum += (double)logits[i];
    for (i = 0; i < NAME_TOKENS; i++) {{
        if (logits[i] <= 0.0f) continue;
        reached += (double)logits[i];
        last = i;
        if (reached > sum * chance) return i;
    }}
    return last;
}}
"""
