// Threads that walk through time together: torch's OpenMP workers, a barrier, equal rounding.

#pragma once

#include <atomic>
#include <cstdlib>
#include <sched.h>

#include "tiles.h"

// The OpenMP runtime that torch has loaded, by the interface that GCC's code calls and LLVM's
// runtime has too: so no compiler links another one.
extern "C" {
void GOMP_parallel(void (*work)(void *), void *argument, unsigned threads, unsigned flags);
int omp_get_thread_num();
int omp_get_num_threads();
}

#if defined(__SSE2__)
#include <xmmintrin.h>
static inline unsigned rounding_mode() { return _mm_getcsr(); }
static inline void set_rounding_mode(unsigned mode) { _mm_setcsr(mode); }
static inline void pause_() { _mm_pause(); }
#elif defined(__aarch64__)
static inline unsigned long rounding_mode() {
    unsigned long mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void set_rounding_mode(unsigned long mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
static inline void pause_() { asm volatile("yield"); }
#else
static inline int rounding_mode() { return 0; }
static inline void set_rounding_mode(int) {}
static inline void pause_() {}
#endif

// Everyone waits for everyone. Spins, since a step is short; yields the core when others need it.
class Barrier {
    std::atomic<int> waiting{0}, round{0};

  public:
    std::atomic<int> late{0};  // waits that ended in yielding
    int rounds() const { return round.load(std::memory_order_relaxed); }

    void wait(int size) {
        if (size == 1) return;
        int now = round.load(std::memory_order_relaxed);
        if (waiting.fetch_add(1, std::memory_order_acq_rel) == size - 1) {
            waiting.store(0, std::memory_order_relaxed);
            round.store(now + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; round.load(std::memory_order_acquire) == now; spins++) {
            if (spins == PATIENCE) late.fetch_add(1, std::memory_order_relaxed);
            spins < PATIENCE ? pause_() : (void)sched_yield();
        }
    }

  private:
    static constexpr int PATIENCE = 4000;  // some 50 µs
};

// Where others want the cores, a member that was put aside holds up all at a barrier, for many times
// what a small step takes: one thread is faster then. Seen by how many waits of small steps were
// long; the calls after that are made alone, twice as many each time that it is seen again.
class Crowd {
    std::atomic<int> rounds{0}, late{0}, alone{0}, next{FIRST};
    static constexpr int FIRST = 64, MOST = 4096, SEEN = 32;
    const bool ignored = std::getenv("THROUGHTIME_CROWD") != nullptr;

  public:
    // Whether a call of small steps is better made alone.
    bool is_here() {
        if (alone.load(std::memory_order_relaxed) <= 0) return false;
        alone.fetch_sub(1, std::memory_order_relaxed);
        return true;
    }
    void saw(const Barrier &barrier) {
        if (ignored) return;
        int all = rounds.fetch_add(barrier.rounds()) + barrier.rounds();
        int of = late.fetch_add(barrier.late) + barrier.late;
        if (all < SEEN) return;
        rounds = 0, late = 0;
        bool crowded = of * 8 > all;
        if (crowded) alone = next.load();
        next = crowded ? std::min(2 * next, int(MOST)) : int(FIRST);
    }
    int expect(int calls) { return alone.exchange(calls); }
};
static Crowd crowd;

struct Member {
    int id, size;
    Barrier &barrier;

    void wait() const { barrier.wait(size); }
    // This member's part of `count` things.
    long first(long count) const { return count * id / size; }
    long last(long count) const { return count * (id + 1) / size; }
};

// work(member) on `threads` threads, each with the caller's treatment of denormal numbers; `small`
// where the work between two barriers is.
template <class F> static void together(int threads, bool small, F work) {
    struct Team {
        F &work;
        Barrier barrier;
        decltype(rounding_mode()) mode;
    } team{work, {}, rounding_mode()};
    auto run = [](void *argument) {
        Team &team = *(Team *)argument;
        auto before = rounding_mode();
        set_rounding_mode(team.mode);
#if TILES
        TilesHere tiles;
#endif
        team.work(Member{omp_get_thread_num(), omp_get_num_threads(), team.barrier});
        set_rounding_mode(before);
    };
    GOMP_parallel(run, &team, threads, 0);
    if (threads > 1 && small) crowd.saw(team.barrier);
}
